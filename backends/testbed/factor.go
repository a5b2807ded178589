package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// factorLog is where a host with a second factor notes each code that is typed.
const factorLog = "/var/log/factor"

// Factor is what a host wants besides a key: a code, which a module of PAM hands to
// a program to judge (pam_exec), as token servers are commonly asked.
type Factor struct {
	// Code is the one that is right. It is good for ever: plain letters and digits.
	Code string
	// Keyless says that no key is wanted before the code.
	Keyless bool
	// Expired says that alice's password has expired: whoever has typed the
	// right code is to choose a new one.
	Expired bool
}

// Oddity is a host of that name with the second factor. Its sshd asks by
// keyboard-interactive, through PAM.
func (f Factor) Oddity(name string) Oddity {
	methods := "publickey,keyboard-interactive"
	if f.Keyless {
		methods = "keyboard-interactive"
	}
	account, age := "pam_permit.so", ""
	if f.Expired {
		account = "pam_unix.so"
		age = `sed -i 's/^alice:\([^:]*\):[^:]*:/alice:\1:0:/' /etc/shadow`
	}
	return Oddity{
		Name: name,
		SSHD: "UsePAM yes\nKbdInteractiveAuthentication yes\nAuthenticationMethods " + methods + "\n",
		Setup: strings.NewReplacer("CODE", f.Code, "ACCOUNT", account, "AGE", age, "LOG", factorLog).Replace(`
cat >/etc/factor <<'end'
#!/bin/sh
code=$(tr -d '\000')
echo "$PAM_USER" >>LOG
[ "$code" = CODE ]
end
chmod 0755 /etc/factor
cat >/etc/pam.d/sshd <<'end'
auth requisite pam_exec.so quiet expose_authtok /etc/factor
auth required pam_permit.so
account required ACCOUNT
password required pam_unix.so
session required pam_permit.so
end
AGE
`),
	}
}

// Install makes a host want the second factor from now on. Sessions that are open
// stay open.
func (f Factor) Install(ctx context.Context, h *Host) error {
	odd := f.Oddity(h.Name)
	if _, err := h.Exec(ctx, "/bin/sh", "-ec", odd.Setup); err != nil {
		return err
	}
	config, err := h.readFile(sshdConfig)
	if err != nil {
		return err
	}
	if err := h.WriteFile(sshdConfig, append([]byte(odd.SSHD), config...), 0o644); err != nil {
		return err
	}
	return h.RestartSSHD()
}

// CodeCount returns how many codes have been typed at a host with a [Factor]
// since it started.
func (h *Host) CodeCount(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	b, err := h.readFile(factorLog)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("count codes on %s: %w", h.Name, err)
	}
	return bytes.Count(b, []byte("\n")), nil
}
