package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"
)

const (
	sshdProgram = "/usr/sbin/sshd"
	sshdConfig  = "/etc/ssh/sshd_config"
	sshdKey     = "/etc/ssh/ssh_host_ed25519_key"
	sshdLog     = "/var/log/sshd.log"
	sshdPid     = "/run/sshd.pid"
	sshdPort    = 22
	// sshdTime bounds a start or stop of sshd.
	sshdTime = 20 * time.Second
)

// sshdConfig is the configuration of the host's sshd.
func (h *Host) sshdConfig() []byte {
	var b bytes.Buffer
	// The first value of a setting counts, but for MaxStartups.
	fmt.Fprintf(&b, `MaxStartups 200:30:400
%sPort %d
HostKey %s
PidFile %s
LogLevel VERBOSE
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers alice bob
PrintMotd no
Subsystem sftp /usr/lib/openssh/sftp-server
`, h.odd.SSHD, sshdPort, sshdKey, sshdPid)
	if h.forbids {
		b.WriteString(`AllowTcpForwarding no
AllowStreamLocalForwarding no
GatewayPorts no
PermitTunnel no
`)
	}
	return b.Bytes()
}

// startSSHD starts sshd and returns when it listens.
func (h *Host) startSSHD(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sshdTime)
	defer cancel()
	// All that ever runs over a login is started by sshd, and so on its machine.
	if _, err := h.Exec(ctx, append(slices.Clone(h.odd.start), sshdProgram, "-E", sshdLog)...); err != nil {
		return err
	}
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
		// sshd writes its number down after it has begun to listen.
		_, err := h.sshdPid()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, strconv.ErrSyntax) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		log, _ := h.readFile(sshdLog)
		return fmt.Errorf("start sshd on %s: %w\n%s", h.Name, err, log)
	}
	return nil
}

// sshdPid returns the number of the sshd that listens, within the host.
func (h *Host) sshdPid() (int, error) {
	b, err := h.readFile(sshdPid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b)))
}

// RestartSSHD stops the sshd that listens and starts another. Sessions that
// are open stay open, as they do when an administrator restarts sshd.
func (h *Host) RestartSSHD() error {
	ctx, cancel := context.WithTimeout(context.Background(), sshdTime)
	defer cancel()
	pid, err := h.sshdPid()
	if err != nil {
		return fmt.Errorf("restart sshd on %s: %w", h.Name, err)
	}
	if _, err := h.Exec(ctx, "kill", "-TERM", strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("restart sshd: %w", err)
	}
	err = poll(ctx, 5*time.Millisecond, func() (bool, error) {
		// It removes the file when it has stopped listening.
		_, err := h.readFile(sshdPid)
		if errors.Is(err, os.ErrNotExist) {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("stop sshd on %s: %w", h.Name, err)
	}
	return h.startSSHD(ctx)
}

// LoginCount returns how many logins sshd has accepted since the host started.
func (h *Host) LoginCount(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	log, err := h.readFile(sshdLog)
	if err != nil {
		return 0, fmt.Errorf("count logins on %s: %w", h.Name, err)
	}
	n := 0
	for line := range bytes.Lines(log) {
		// "Accepted key" and "Partial" are only steps on the way.
		method, found := bytes.CutPrefix(line, []byte("Accepted "))
		if _, rest, _ := bytes.Cut(method, []byte(" ")); found && bytes.HasPrefix(rest, []byte("for ")) {
			n++
		}
	}
	return n, nil
}
