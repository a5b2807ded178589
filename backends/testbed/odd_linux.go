package testbed

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Linux310 returns a host of that name on which all that alice runs finds itself
// on Linux 3.10, the oldest that is still met: that of RHEL 7. System calls and
// socket options that came later fail as they do there, by a filter (seccomp) that
// her login shell installs. What the kernel calls itself stays.
func Linux310(name string) Oddity {
	const shell = "/usr/local/bin/linux310"
	return Oddity{Name: name, Shell: shell, Setup: fmt.Sprintf("cat >%s <<'E'\n%sE\nchmod 755 %[1]s", shell, filteredShell())}
}

// filteredShell is a program that becomes bash after it has installed the
// filter. Perl is on every Debian.
func filteredShell() string {
	program := laterCalls()
	var b strings.Builder
	for _, i := range program {
		fmt.Fprintf(&b, "%x", binary.LittleEndian.AppendUint32([]byte{byte(i.Code), byte(i.Code >> 8), i.Jt, i.Jf}, i.K))
	}
	return fmt.Sprintf(`#!/usr/bin/perl
my $program = pack("H*", "%s");
my $filter = pack("Sx6P", %d, $program);
syscall(%[3]d, %[4]d, 1, 0, 0, 0) == 0 && syscall(%[3]d, %[5]d, %[6]d, $filter, 0, 0) == 0 or die "filter: $!";
exec {"/bin/bash"} "bash", @ARGV;
`, b.String(), len(program), unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER)
}

// Offsets in struct seccomp_data (seccomp(2)), on a little-endian machine.
const (
	offCall = 0
	offArch = 4
	offArg1 = 16 + 8
	offArg2 = 16 + 16
)

// laterCalls is a filter that has what came after Linux 3.10 fail.
func laterCalls() []unix.SockFilter {
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	fails := func(e syscall.Errno) unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(e)) }
	return []unix.SockFilter{
		load(offArch),
		jump(unix.BPF_JEQ, auditArch, 0, 5), // another architecture's calls pass
		load(offCall),
		// Calls are numbered in the order in which they came to the kernel, and
		// finit_module is the last that 3.10 has.
		jump(unix.BPF_JGT, unix.SYS_FINIT_MODULE, 4, 0),
		jump(unix.BPF_JEQ, unix.SYS_SETSOCKOPT, 0, 2),
		load(offArg1),
		jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 2, 0),
		ret(unix.SECCOMP_RET_ALLOW),
		fails(unix.ENOSYS),
		load(offArg2),
		jump(unix.BPF_JEQ, unix.TCP_NOTSENT_LOWAT, 0, 1), // of 3.12
		fails(unix.ENOPROTOOPT),
		ret(unix.SECCOMP_RET_ALLOW),
	}
}

const emulator = "/usr/bin/qemu-aarch64-static"

// emulate runs a command in a user namespace in which everybody is who they are
// outside and programs for Linux on aarch64 are run by the emulator, which the kernel
// opens at once (F): see its admin-guide/binfmt-misc. Since Linux 6.7 each user
// namespace has formats of its own, so the machine does not get to know this one.
const emulate = `unshare --user --mount /bin/sh -c '
	until grep -qs 65536 /proc/self/uid_map && grep -qs 65536 /proc/self/gid_map; do sleep 0.01; done
	exec /bin/sh -ec "$0" "$@"' '
	mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
	printf %s "$0" >/proc/sys/fs/binfmt_misc/register
	exec "$@"' "$0" "$@" &
tries=0
while [ "$(readlink /proc/$!/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do
	tries=$((tries + 1))
	[ $tries -lt 1000 ] && kill -0 $! 2>/dev/null || exit 1
	sleep 0.01
done
echo 0 0 65536 >/proc/$!/uid_map && echo 0 0 65536 >/proc/$!/gid_map || { kill $!; exit 1; }
wait $!`

const formatAArch64 = `:qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:` +
	`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:` + emulator + `:F`

// AArch64 returns a host whose users find themselves on a machine with 64-bit
// ARM processors. Programs for those run there in an emulator; those of the
// host itself run as ever. It skips the test where the emulator, or the kernel's
// help, is not to be had.
func AArch64(t testing.TB, name string) Oddity {
	t.Helper()
	if os.Getenv(Env) == "install" {
		require(t, "qemu-user-static")
	} else {
		require(t)
	}
	if _, err := os.Stat(emulator); err != nil {
		t.Skipf("needs an emulator: %v; the Debian package qemu-user-static has it", err)
	}
	if said, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", emulate, formatAArch64, "true").CombinedOutput(); err != nil {
		t.Skipf("needs a Linux that has binfmt_misc in user namespaces, as since 6.7: %v: %s", err, said)
	}
	return Oddity{
		Name: name,
		Setup: `mv /usr/bin/uname /usr/bin/uname.real
cat >/usr/bin/uname <<'E'
#!/bin/sh
case $* in
-m) echo aarch64 ;;
*) exec /usr/bin/uname.real "$@" ;;
esac
E
chmod 755 /usr/bin/uname
echo 22 >/proc/sys/net/ipv4/ip_unprivileged_port_start`,
		start: []string{"/bin/sh", "-c", emulate, formatAArch64},
	}
}
