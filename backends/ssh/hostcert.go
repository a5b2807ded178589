package ssh

import (
	"errors"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/gat"
)

// hostCertOrder is the order certificates are asked for in, of hosts whose authority
// is known.
var hostCertOrder = [...]string{
	gossh.CertAlgoED25519v01, gossh.CertAlgoECDSA256v01, gossh.CertAlgoECDSA384v01, gossh.CertAlgoECDSA521v01,
	gossh.CertAlgoRSASHA512v01, gossh.CertAlgoRSASHA256v01,
}

// checkCertificate says what to make of a host's certificate that was refused for a
// reason: as with ssh(1) the key in it counts then as if there were no certificate.
func (k *knownHosts) checkCertificate(h *hop, cert *gossh.Certificate, why error) error {
	if re, ok := errors.AsType[*knownhosts.RevokedError](k.look(h, cert.SignatureKey)); ok {
		return k.revoked(h, "authority", cert.SignatureKey, re)
	}
	err := k.check(h, cert.Key)
	if _, unknown := errors.AsType[*unknownHost](err); !unknown {
		return err
	}
	var known []string
	for _, w := range k.want(h) {
		if k.authority(w) {
			known = append(known, fmt.Sprintf("%s %s at %s:%d", w.Key.Type(), gossh.FingerprintSHA256(w.Key), w.Filename, w.Line))
		}
	}
	at := fmt.Sprintf("the host certificate of %s, by the authority %s %s", h.addr(), cert.SignatureKey.Type(), gossh.FingerprintSHA256(cert.SignatureKey))
	bad := func(hint, format string, args ...any) error {
		return problem(gat.Denied, hint, &unknownHost{text: at + fmt.Sprintf(format, args...), bad: true})
	}
	switch reason := why.Error(); {
	case noAuthority(why):
		// Authorities for many hosts (*) need not be those of all of them.
		return problem(gat.Denied, "somebody may be listening in; if the host's administrator confirms the authority, add it to the @cert-authority lines",
			&unknownHost{text: fmt.Sprintf("%s: the authority is not known for this host: known is %s", at, strings.Join(known, ", "))})
	case strings.Contains(reason, "principal"):
		return bad("use one of these names in the URL, or set HostKeyAlias to it in ~/.ssh/config",
			", is not for this name but for: %s", printable(strings.Join(cert.ValidPrincipals, ", ")))
	case strings.Contains(reason, "expired"), strings.Contains(reason, "not yet valid"):
		return bad("the host's administrator must renew it; is the clock of this machine right?", ": %v", why)
	default:
		return bad("the host's administrator must make a new one", ": %v", &foreign{why})
	}
}

// revoked is the error of a key that a line of a known_hosts file revokes.
func (k *knownHosts) revoked(h *hop, what string, key gossh.PublicKey, re *knownhosts.RevokedError) error {
	return problem(gat.Denied, fmt.Sprintf("ask the host's administrator for its new key; then run `%s` and log in once with `%s`", k.keygen(h, k.file), k.ssh(h)),
		fmt.Errorf("the %s of %s (%s %s) is revoked at %s:%d", what, h.addr(), key.Type(), gossh.FingerprintSHA256(key), re.Revoked.Filename, re.Revoked.Line))
}

// noAuthority reports whether err says that a certificate is by no authority for the host.
func noAuthority(err error) bool {
	return err != nil && strings.Contains(err.Error(), "no authorities")
}
