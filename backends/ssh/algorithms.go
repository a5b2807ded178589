package ssh

import (
	"fmt"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
)

// ciphers lists the authenticated ciphers first, the cheap ones before.
var ciphers = [...]string{
	gossh.CipherAES128GCM, gossh.CipherChaCha20Poly1305, gossh.CipherAES256GCM,
	gossh.CipherAES128CTR, gossh.CipherAES192CTR, gossh.CipherAES256CTR,
}

// algorithms fills in what is offered to a server: what is sound, in our order, and
// after that what old servers need and the user's configuration allows, such as by
// HostKeyAlgorithms +ssh-rsa.
func algorithms(config *gossh.ClientConfig, host sshconfig.Host) {
	config.Ciphers = ciphers[:]
	config.SetDefaults()
	old := gossh.InsecureAlgorithms()
	for _, c := range []struct {
		keyword string
		old     []string
		list    *[]string
	}{
		{"kexalgorithms", old.KeyExchanges, &config.KeyExchanges},
		{"ciphers", old.Ciphers, &config.Ciphers},
		{"macs", old.MACs, &config.MACs},
		{"hostkeyalgorithms", old.HostKeys, &config.HostKeyAlgorithms},
	} {
		allowed := strings.Split(strings.TrimLeft(host.Value(c.keyword), "+^"), ",")
		list := slices.Clone(*c.list)
		for _, a := range c.old {
			if slices.Contains(allowed, a) && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
		*c.list = list
	}
}

// allowing says how to allow what a server wants and we know but do not offer.
func allowing(host string, neg *gossh.AlgorithmNegotiationError) string {
	old := gossh.InsecureAlgorithms()
	keyword, known := "Ciphers", old.Ciphers
	switch {
	case neg.What == "key exchange":
		keyword, known = "KexAlgorithms", old.KeyExchanges
	case neg.What == "host key":
		keyword, known = "HostKeyAlgorithms", old.HostKeys
	case strings.HasSuffix(neg.What, "MAC"):
		keyword, known = "MACs", old.MACs
	}
	for _, a := range neg.RequestedAlgorithms {
		if slices.Contains(known, a) {
			return fmt.Sprintf("the server is old; to use it all the same write `Host %s` and `%s +%s` into ~/.ssh/config", host, keyword, a)
		}
	}
	return "the server is too old or too restricted"
}
