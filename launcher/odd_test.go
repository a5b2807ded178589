package launcher_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// elsewhere is a setup in which the keys of alice are not in her home.
const elsewhere = `cp /home/alice/.ssh/authorized_keys /etc/keys
chmod 644 /etc/keys
sed -i '1i AuthorizedKeysFile /etc/keys' /etc/ssh/sshd_config
`

// talkative is what people have in start files, for csh.
const talkative = `echo "*** welcome, quota 93% used ***"
set prompt = '%m%# '
alias ls 'ls -F --color=always'
alias cd 'cd \!*; pwd'
setenv GREP_OPTIONS --color
stty erase '^?'
module load java/17
echo "done\!"
`

// oddHosts are hosts that are odd, each in its own way.
var oddHosts = []struct {
	testbed.Oddity
	site string   // lines for the site; two slots if empty
	says []string // of the error; none where the job is to run
	raw  bool     // the pilot cannot be compressed on its way
}{
	{Oddity: testbed.Oddity{Name: "csh", Shell: "/bin/bsd-csh"}},
	{Oddity: testbed.Oddity{Name: "tcsh", Shell: "/bin/tcsh",
		Setup: "cat >/home/alice/.cshrc <<'E'\n" + talkative + "E\n"}},
	{Oddity: testbed.Oddity{Name: "fish", Shell: "/usr/bin/fish",
		Setup: "install -d -o alice -g alice /home/alice/.config/fish /home/alice/.local /home/alice/.local/share /home/alice/.local/share/fish\necho 'echo welcome to fish; set -x PATH /opt/none $PATH' >/home/alice/.config/fish/config.fish"}},
	{Oddity: testbed.Oddity{Name: "noisy",
		Setup: `printf 'seq 20000\necho oops >&2\nset -x\nalias rm="rm -i"\nprintf "no end of line"' >/home/alice/.bashrc`}},
	{Oddity: testbed.Oddity{Name: "nosftp", Setup: "sed -i /Subsystem/d /etc/ssh/sshd_config"}},
	{Oddity: testbed.Oddity{Name: "sftponly", SSHD: "ForceCommand internal-sftp\n"},
		says: []string{"the account may only transfer files, and runs no commands", "ask for one that may run commands"}},
	{Oddity: testbed.Oddity{Name: "nologin", Shell: "/usr/sbin/nologin"},
		says: []string{"This account is currently not available", "login shell"}},
	{Oddity: testbed.Oddity{Name: "noforward", SSHD: "AllowTcpForwarding no\nAllowStreamLocalForwarding no\nPermitTunnel no\n"}},
	{Oddity: testbed.Oddity{Name: "onesession", SSHD: "MaxSessions 1\n"}, site: "pilots = 2\nslots = 1\n"},
	{Oddity: testbed.Oddity{Name: "twosessions", SSHD: "MaxSessions 2\n"}},
	{Oddity: testbed.Oddity{Name: "oneofall", SSHD: "MaxSessions 1\nMaxStartups 1\nAllowTcpForwarding no\nAllowStreamLocalForwarding no\n"},
		site: "pilots = 2\nslots = 1\n"},
	{Oddity: testbed.Oddity{Name: "nohome", Setup: elsewhere + "rm -rf /home/alice"}},
	{Oddity: testbed.Oddity{Name: "unsethome", SSHD: "ForceCommand unset HOME; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n"}},
	{Oddity: testbed.Oddity{Name: "nothishome", Setup: elsewhere + "chown -R bob /home/alice"}},
	{Oddity: testbed.Oddity{Name: "fullhome", Setup: elsewhere + "mount -t tmpfs -o size=64k,mode=1777 tmpfs /home/alice\ndd if=/dev/zero of=/home/alice/fill bs=1k || true"}},
	{Oddity: testbed.Oddity{Name: "readonlyhome", Setup: "mount --bind /home/alice /home/alice\nmount -o remount,ro,bind /home/alice"}},
	{Oddity: testbed.Oddity{Name: "noexec", Setup: "mount -o remount,noexec /tmp\nmount -o remount,noexec /dev/shm"}},
	{Oddity: testbed.Oddity{Name: "nogzip", Setup: "rm -f /bin/gzip /usr/bin/gzip"}, raw: true},
	{Oddity: testbed.Oddity{Name: "notools", Setup: "cd /usr/bin; rm -f gzip sha256sum nproc getconf awk mawk gawk df stat setsid perl* python3*"}, raw: true},
	{Oddity: testbed.Oddity{Name: "busybox", Setup: `mkdir /opt/busybox
for tool in $(/bin/busybox --list); do ln -s /bin/busybox /opt/busybox/$tool; done
ln -sf /bin/busybox /bin/sh
sed -i '1i SetEnv PATH=/opt/busybox' /etc/ssh/sshd_config`}},
	{Oddity: testbed.Oddity{Name: "squatted", Setup: "install -d -m 755 -o bob /tmp/zorilla-20001\nln -s /home/bob /var/tmp/zorilla-20001"}},
	{Oddity: testbed.Oddity{Name: "nowhere", Setup: elsewhere + `mount -o remount,noexec /tmp
mount -t tmpfs -o size=64k,mode=1777 tmpfs /var/tmp
dd if=/dev/zero of=/var/tmp/fill bs=1k || true
install -d -m 700 -o bob /dev/shm/zorilla-20001
mount -o remount,ro /home`},
		says: []string{"/tmp/zorilla-20001: programs cannot run there (noexec)", "/var/tmp/zorilla-20001: cannot write (disk full?)",
			"/dev/shm/zorilla-20001: belongs to another user (uid 20002)", "/home/alice: not writable", `scratch = "/path"`}},
	{Oddity: testbed.Linux310("linux310")},
}

// TestForeignProcessors runs a job on a host whose processors are others than this
// machine's, beside one that has the same. It has no hub there: that would be nice,
// and an emulated one that is has little of a busy machine.
func TestForeignProcessors(t *testing.T) {
	t.Parallel()
	net := testbed.OddHosts(t, testbed.AArch64(t, "arm"), testbed.Oddity{Name: "same"})
	b := newBenchIn(t, net.Net)
	sites := fmt.Sprintf(`
[defaults]
slots = 1
keep = true
[site.arm]
url = %q
hub = "none"
[site.same]
url = %q
`, b.url(net.Host("arm")), b.url(net.Host("same")))
	for _, kept := range []bool{false, true} {
		r, events := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 2}, sites, nil)
		wantOK(t, r)
		platforms := make(map[string]string)
		for _, e := range events {
			if c, ok := e.Data.(launcher.SiteChanged); ok && c.Platform != "" {
				platforms[c.Site] = c.Platform
			}
		}
		if platforms["arm"] != "linux/arm64" || platforms["same"] == platforms["arm"] {
			t.Errorf("the platforms are %v", platforms)
		}
		for _, s := range r.Report.Sites {
			if there := s.Sent < 1<<20; there != kept {
				t.Errorf("%d bytes were sent to %s, where a pilot is kept: %v", s.Sent, s.Site, kept)
			}
		}
	}
	for _, h := range net.Hosts() {
		onHost(t, h, "rm -r /tmp/zorilla-20001")
	}
	net.NoLeftovers(t)
}

// TestFewSessionsBehind runs a job on hosts behind one that takes one session at a
// time, with and without leave to connect onwards.
func TestFewSessionsBehind(t *testing.T) {
	t.Parallel()
	net := testbed.OddHosts(t, testbed.Oddity{Name: "behind1"}, testbed.Oddity{Name: "behind2", Shell: "/bin/bsd-csh"},
		testbed.Oddity{Name: "open", SSHD: "MaxSessions 1\n"},
		testbed.Oddity{Name: "closed", SSHD: "MaxSessions 1\nAllowTcpForwarding no\nAllowStreamLocalForwarding no\n"})
	for _, head := range []string{"open", "closed"} {
		b := newBenchIn(t, net.Net)
		r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 2},
			fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [\"behind[1-2]\"]\nslots = 1\n", b.url(net.Host(head))), nil)
		wantOK(t, r)
		if got := b.stdout(r, 0) + b.stdout(r, 1); got != "behind1\nbehind2\n" && got != "behind2\nbehind1\n" {
			t.Errorf("behind %s, the workers printed %q", head, got)
		}
		net.NoLeftovers(t)
	}
}

// TestOneSessionOnly runs a job where the login needs a code, so that there is no other
// connection, and one session at a time is allowed on it.
func TestOneSessionOnly(t *testing.T) {
	t.Parallel()
	testbed.Require(t)
	odd := testbed.Factor{Code: "123456"}.Oddity("head")
	odd.SSHD += "MaxSessions 1\n"
	net := testbed.OddHosts(t, odd)
	b, u := newBenchIn(t, net.Net), &typist{code: "123456"}
	r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 3},
		fmt.Sprintf("[site.head]\nurl = %q\nslots = 1\npilots = 3\n", b.url(net.Host("head"))),
		func(o *launcher.Options) { o.Ask = u.ask })
	wantOK(t, r)
	b.wantLogins(net.Host("head"), 1, 1)
	net.NoLeftovers(t)
}

// TestFarAway runs a job on a host that is 100 ms away, over one login.
func TestFarAway(t *testing.T) {
	t.Parallel()
	w := testbed.WideArea(t, testbed.Place{Name: "far"})
	far := w.Sites[0]
	w.SetRTT(w.Home, far, 100*time.Millisecond)
	b := newBenchIn(t, w.Net)
	r, events := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 2},
		fmt.Sprintf("[site.far]\nurl = %q\nslots = 2\n", b.url(far.Head)), nil)
	wantOK(t, r)
	for rank := range 2 {
		if got := b.stdout(r, rank); got != far.Head.Name+"\n" {
			t.Errorf("rank %d printed %q", rank, got)
		}
	}
	if n, err := far.Head.LoginCount(t.Context()); n != 1 || err != nil {
		t.Errorf("%d logins, error %v; want one", n, err)
	}
	began := events[0].Time
	for _, e := range events {
		if _, ok := e.Data.(launcher.OutputWritten); ok {
			t.Logf("first output after %.1f round trips", e.Time.Sub(began).Seconds()/0.1)
			break
		}
	}
	far.Head.NoLeftovers(t)
}

// TestFewStartups logs in several times at once where the server greets one client
// at a time and hangs up on all others.
func TestFewStartups(t *testing.T) {
	t.Parallel()
	net := testbed.OddHosts(t, testbed.Oddity{Name: "strict", SSHD: "MaxStartups 1\nMaxSessions 1\n"})
	h := net.Host("strict")
	b := newBenchIn(t, net.Net)
	const sites = 6
	file := "[defaults]\nslots = 1\n"
	for i := range sites {
		file += fmt.Sprintf("[site.s%d]\nurl = %q\n", i, b.url(h))
	}
	r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: sites}, file, nil)
	wantOK(t, r)
	for rank := range sites {
		if got := b.stdout(r, rank); got != "strict\n" {
			t.Errorf("rank %d printed %q", rank, got)
		}
	}
	h.NoLeftovers(t)
	t.Logf("the server hung up on %s clients", strings.TrimSpace(onHost(t, h, "grep -c MaxStartups /var/log/sshd.log; true")))
}

// TestOddHosts runs a job on each of them.
func TestOddHosts(t *testing.T) {
	t.Parallel()
	var oddities []testbed.Oddity
	for _, c := range oddHosts {
		oddities = append(oddities, c.Oddity)
	}
	net := testbed.OddHosts(t, oddities...)
	for _, c := range oddHosts {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			b := newBenchIn(t, net.Net)
			h := net.Host(c.Name)
			job := launcher.Job{
				App:     b.script("uname -n; wc -c <data; echo $ZORILLA_RANK >result\n"),
				Inputs:  []launcher.Input{{Src: b.file("data", 8000)}},
				Outputs: []string{"result"},
				Workers: 2,
			}
			site := fmt.Sprintf("[site.bad]\nurl = %q\n", b.url(h)) + cmp.Or(c.site, "slots = 2\n")
			if len(c.says) > 0 {
				b.fails(bad{site: site, says: c.says, job: job})
			} else {
				r, _ := b.run(job, site, nil)
				wantOK(t, r)
				h.NoLeftovers(t)
				b.nothingHere(r.Run)
				for rank := range 2 {
					if got, want := b.stdout(r, rank), c.Name+"\n8000\n"; got != want {
						t.Errorf("rank %d printed %q, want %q", rank, got, want)
					}
				}
				var sent int64
				for _, s := range r.Report.Sites {
					sent = s.Sent
				}
				if raw := sent > 5<<20; raw != c.raw {
					t.Errorf("%d bytes were sent; uncompressed %v, want %v", sent, raw, c.raw)
				}
			}
			h.NoLeftovers(t)
		})
	}
}
