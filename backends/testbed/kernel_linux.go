package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostNamespaces are the kinds of namespace a host has of its own.
const hostNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID

// onThread runs fn on an operating-system thread of its own, and returns what
// fn returns. fn may move that thread to other namespaces: the thread ends
// with it and no other goroutine ever runs there.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and /proc/self speaks of it. While
			// this goroutine occupies it, the next one gets another.
			defer runtime.UnlockOSThread()
			done <- onThread(fn)
			return
		}
		done <- fn() // returning without unlocking ends the thread
	}()
	return <-done
}

// newNetwork makes a network namespace that lives as long as the file is open
// or a process is in it.
func newNetwork() (*os.File, error) {
	var ns *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		// New namespaces inherit this from the machine.
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
			return fmt.Errorf("forbid routing in network namespace: %w", err)
		}
		var err error
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return ns, err
}

// inNetwork runs fn on a thread that is in the network namespace ns. Sockets
// made and programs started by fn stay there.
func inNetwork(ns *os.File, fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// inHost runs fn on a thread that is in all namespaces of the process of
// pidfd: files that fn opens and programs that fn starts are the host's.
func inHost(pidfd *os.File, fn func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("enter host: %w", err)
		}
		if err := unix.Setns(int(pidfd.Fd()), hostNamespaces); err != nil {
			return fmt.Errorf("enter host: %w", err)
		}
		unix.Umask(0o022)
		return fn()
	})
}

// initScript is process 1 of a host: it reaps orphans, and ends, and with it
// all processes of the host, when nobody writes to its descriptor 3 any more.
const initScript = `mount -t proc -o nosuid,nodev,noexec proc /proc || exit 1
echo up
exec >/dev/null 2>&1
cat <&3 &
wait $!`

// startInit builds the root file system of a host on the empty directory dir,
// with disks in it, calls populate with that root in place, and starts process 1 there. The
// machine's mount namespace sees nothing of it.
func startInit(net *os.File, dir, name string, disks []disk, init *exec.Cmd, populate func() error) error {
	init.Path = "/bin/sh"
	init.Args = []string{"init", "-c", initScript}
	init.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID}
	return inNetwork(net, func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC); err != nil {
			return fmt.Errorf("make namespaces: %w", err)
		}
		unix.Umask(0o022)
		if err := unix.Sethostname([]byte(name)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
		if err := makeRoot(dir, disks); err != nil {
			return err
		}
		if err := populate(); err != nil {
			return err
		}
		return init.Start()
	})
}

func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// makeRoot makes an overlay on the machine's root the root of the calling
// thread, which must be in a mount namespace of its own.
func makeRoot(dir string, disks []disk) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := mountTmpfs(dir, "2g", "755", 0); err != nil {
		return err
	}
	upper, work, root := filepath.Join(dir, "upper"), filepath.Join(dir, "work"), filepath.Join(dir, "root")
	for _, d := range []string{upper, work, root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("overlay", root, "overlay", 0, "lowerdir=/,upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("mount overlay on /: %w", err)
	}
	if err := hideMachine(root); err != nil {
		return err
	}
	for _, m := range []struct{ path, size, mode string }{
		{"dev", "1m", "755"}, {"dev/shm", "256m", "1777"},
		{"run", "64m", "755"}, {"run/lock", "1m", "1777"},
		{"tmp", "1g", "1777"}, {"var/tmp", "1g", "1777"},
		{"home", "1g", "755"}, {"root", "64m", "700"},
	} {
		path := filepath.Join(root, m.path)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := mountTmpfs(path, m.size, m.mode, unix.MS_NOSUID); err != nil {
			return err
		}
	}
	for _, d := range disks {
		at := filepath.Join(root, d.at)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(d.dir, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount disk on %s: %w", d.at, err)
		}
	}
	if err := makeDev(filepath.Join(root, "dev")); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", filepath.Join(root, "sys"), "sysfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the machine's root: %w", err)
	}
	return os.Chdir("/")
}

// hideMachine covers the directories of the machine's root that hold neither
// programs nor their settings.
func hideMachine(root string) error {
	system := map[string]bool{"bin": true, "sbin": true, "lib": true, "lib32": true, "lib64": true, "libx32": true,
		"usr": true, "etc": true, "var": true, "opt": true,
		"proc": true, "sys": true, "dev": true, "run": true, "tmp": true, "home": true, "root": true}
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || system[e.Name()] {
			continue
		}
		if err := mountTmpfs(filepath.Join(root, e.Name()), "4k", "755", unix.MS_RDONLY); err != nil {
			return err
		}
	}
	return nil
}

// makeDev fills a host's /dev. Device nodes are the machine's own, bound,
// because a container may not make nodes.
func makeDev(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		node := filepath.Join(dev, name)
		if err := os.WriteFile(node, nil, 0o644); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, node, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", name, err)
		}
	}
	pts := filepath.Join(dev, "pts")
	if err := os.Mkdir(pts, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devpts", pts, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,gid=5,mode=620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	for link, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	return nil
}

func mountTmpfs(path, size, mode string, flags uintptr) error {
	if err := unix.Mount("tmpfs", path, "tmpfs", flags, "size="+size+",mode="+mode); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", path, err)
	}
	return nil
}

// mountScratch mounts a tmpfs inside a host; it is called through inHost.
func mountScratch(path string, size int64, noexec bool) error {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if noexec {
		flags |= unix.MS_NOEXEC
	}
	return mountTmpfs(path, fmt.Sprint(size), "1777", flags)
}

// unmountScratch undoes mountScratch even while files there are open.
func unmountScratch(path string) error {
	return os.NewSyscallError("umount", unix.Unmount(path, unix.MNT_DETACH))
}
