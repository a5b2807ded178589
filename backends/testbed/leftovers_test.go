package testbed_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

func TestLeftovers(t *testing.T) {
	f := testbed.SSH(t)
	f.NoLeftovers(t)

	plant := `cd /tmp; echo data > file; mkdir dir; mkfifo pipe; ln -s /etc link; echo more >> ~/.bashrc; touch /dev/shm/x /var/tmp/y
exec </dev/null >/dev/null 2>&1
setsid bash -c 'exec -a sshd sleep 1001' &
cp /usr/bin/sleep ~/sshd; setsid ~/sshd 1002 &
setsid perl -MSocket -e 'socket(A,AF_INET,SOCK_STREAM,0); bind(A,sockaddr_in(4444,INADDR_LOOPBACK)); listen(A,1);
	socket(B,AF_UNIX,SOCK_STREAM,0); bind(B,pack_sockaddr_un("/tmp/socket")); listen(B,1);
	socket(C,AF_INET,SOCK_DGRAM,0); bind(C,sockaddr_in(5555,INADDR_ANY)); sleep 1003' &`
	if _, err := f.Plain.ExecAs(t.Context(), "alice", "sh", "-c", plant); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"alice: sshd 1001", "sshd 1002", "alice: perl",
		"file /tmp/file of alice, 5 bytes", "directory /tmp/dir of alice", "pipe /tmp/pipe", "link /tmp/link",
		"socket /tmp/socket", "file /home/alice/.bashrc of alice, changed", "/dev/shm/x", "/var/tmp/y",
		"listening tcp 127.0.0.1:4444, process", "listening udp 0.0.0.0:5555", "listening unix /tmp/socket",
	}
	var got []string
	eventually(t, "everything planted is found", func() bool {
		var err error
		if got, err = f.Plain.Leftovers(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, w) }) {
				return false
			}
		}
		return true
	})
	for _, line := range got {
		if strings.Contains(line, "\n") {
			t.Errorf("%q is more than one line", line)
		}
	}
	if p, err := f.Plain.Processes(t.Context(), "1001"); err != nil || len(p) != 1 || p[0].User != "alice" {
		t.Errorf("Processes: %v, %v; want one of alice", p, err)
	}
	if left, err := f.Bastion.Leftovers(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("leftovers on another host: %q, %v", left, err)
	}

	r := &recorder{TB: t}
	if _, err := f.Bastion.ExecAs(t.Context(), "bob", "sh", "-c", "echo mine > /tmp/of-bob"); err != nil {
		t.Fatal(err)
	}
	testbed.NoLeftoversWithin(f.Bastion, r, 100*time.Millisecond)
	if !strings.Contains(r.said, "file /tmp/of-bob of bob, 5 bytes") {
		t.Errorf("NoLeftovers said %q", r.said)
	}
	if _, err := f.Bastion.Exec(t.Context(), "rm", "/tmp/of-bob"); err != nil {
		t.Fatal(err)
	}
	f.Bastion.NoLeftovers(t)
}

// A session that is open is not sshd's, but its sshd is.
func TestLeftoversOfSession(t *testing.T) {
	f := testbed.SSH(t)
	c := client(t, f, f.Bastion, "alice")
	if left, err := f.Bastion.Leftovers(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("an open connection left %q, %v", left, err)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("exec cat"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "cat is found", func() bool {
		left, err := f.Bastion.Leftovers(t.Context())
		return err == nil && len(left) == 1 && strings.HasSuffix(left[0], ": cat")
	})
	in.Close()
	f.Bastion.NoLeftovers(t)
}

func TestScratch(t *testing.T) {
	f := testbed.Shared(t)
	t.Run("mounted", func(t *testing.T) {
		f.Inner2.Scratch(t, "/home/alice/full", 64<<10, false)
		f.Inner2.Scratch(t, "/home/alice/noexec", 1<<20, true)
		if _, err := f.Inner2.ExecAs(t.Context(), "alice", "dd", "if=/dev/zero", "of=full/x", "bs=1k", "count=100"); err == nil || !strings.Contains(err.Error(), "No space left") {
			t.Errorf("disk is not full: %v", err)
		}
		if _, err := f.Inner2.ExecAs(t.Context(), "alice", "sh", "-c", "cp /bin/true noexec && noexec/true"); err == nil || !strings.Contains(err.Error(), "Permission denied") {
			t.Errorf("program runs: %v", err)
		}
		left, err := f.Inner2.Leftovers(t.Context())
		if err != nil || len(left) != 2 {
			t.Errorf("leftovers %q, %v; want the two files and not their directories", left, err)
		}
	})
	f.Inner2.NoLeftovers(t)
}

// recorder takes what a helper says about a failure.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Errorf(format string, args ...any) {
	for _, a := range args {
		if s, ok := a.(string); ok {
			r.said += s
		}
	}
}
