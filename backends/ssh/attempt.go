package ssh

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/gat"
)

// manyKeys is how many keys offered make a server hang up that allows few
// (MaxAuthTries of sshd_config(5)), the attempt without one included.
const manyKeys = 5

// An attempt is one authentication: it offers each key once, one by one, and then
// lets the user answer what the server asks.
type attempt struct {
	ctx   context.Context // of the call that makes the attempt, which outlives it; ends also when the server hangs up
	call  context.Context // the same without that: an unlocked key is of use whatever the server does
	ring  *keyring
	end   endpoint
	clock *alarm

	at      int      // index of the next key
	tried   []string // what became of each key
	allowed []string // methods the server would take
	partial bool     // the server took a key and wants more
	signed  string   // the key that signed last
	factors
}

func (r *keyring) attempt(ctx context.Context, e endpoint, clock *alarm) *attempt {
	return &attempt{ctx: ctx, call: ctx, ring: r, end: e, clock: clock}
}

// next picks what to try next; the SSH library calls it.
func (t *attempt) next(c *gossh.ClientAuthContext) (gossh.AuthMethod, error) {
	t.allowed = c.AllowedMethods
	t.partial = len(c.PartialSuccessMethods) > 0
	if t.stopped != nil {
		return nil, t.stopped
	}
	if slices.Contains(c.AllowedMethods, "publickey") {
		if method := t.nextKey(); method != nil {
			return method, nil
		}
	}
	return t.factor(c)
}

// nextKey offers the next key; nil when all have been.
func (t *attempt) nextKey() gossh.AuthMethod {
	keys, _ := t.ring.list()
	for t.at < len(keys) {
		k := keys[t.at]
		t.at++
		pub := k.public()
		if pub == nil {
			signer, err := k.unlock(t.call, t.ring, t.clock)
			if err != nil {
				t.tried = append(t.tried, err.Error())
				continue
			}
			pub = signer.PublicKey()
		}
		t.tried = append(t.tried, fmt.Sprintf("%s (%s %s)", k.name, pub.Type(), gossh.FingerprintSHA256(pub)))
		return gossh.PublicKeys(&offer{t, k, pub, len(t.tried) - 1})
	}
	return nil
}

// An offer is a key on offer to a server. It signs only after the server said
// that it takes the key, so a passphrase is asked for a key that is of use only.
type offer struct {
	t   *attempt
	k   *key
	pub gossh.PublicKey
	at  int // index in t.tried
}

func (o *offer) PublicKey() gossh.PublicKey { return o.pub }

func (o *offer) Sign(rand io.Reader, data []byte) (*gossh.Signature, error) {
	return o.SignWithAlgorithm(rand, data, "")
}

func (o *offer) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	sig, err := o.k.signWith(o.t.call, o.t.ring, o.t.clock, rand, data, algorithm)
	if err != nil {
		o.t.tried[o.at] += ": taken by the server, but it does not sign: " + err.Error()
		return nil, err
	}
	o.t.tried[o.at] += ": taken by the server, but its signature was refused"
	o.t.signed = o.k.name
	return sig, nil
}

// failure says why the server did not let us in.
func (t *attempt) failure(ctx context.Context, timedOut bool, err error) error {
	at := "authenticate as " + t.end.user + " at " + t.end.addr()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", at, context.Cause(ctx))
	}
	if t.stopped != nil {
		return fmt.Errorf("%s: %w", at, t.stopped)
	}
	text := err.Error()
	switch { // never Transient once somebody has typed: who is asked again should have wanted it
	case t.typed > 0 && strings.Contains(text, "unexpected message type 60"): // SSH_MSG_USERAUTH_PASSWD_CHANGEREQ
		return fmt.Errorf("%s: %w", at, expiry())
	case t.answered && timedOut:
		return problem(gat.Denied, "was the login confirmed on the telephone?", fmt.Errorf("%s: the server says neither yes nor no: %w", at, errTimeout))
	case t.typed > 0:
		refusal := fmt.Errorf("%s: permission denied: %s not accepted", at, counted(t.typed, "answer was", "answers were"))
		if !strings.Contains(text, "unable to authenticate") {
			refusal = fmt.Errorf("%w: the server ends the login: %s", refusal, said(text))
		}
		return problem(gat.Denied, hintWrong, refusal)
	case t.answered && broken(err):
		return problem(gat.Denied, "", fmt.Errorf("%s: the server took the answer and closed the connection: %w", at, err))
	case timedOut:
		return problem(gat.Transient, "the server may be overloaded or its directory of users slow", fmt.Errorf("%s: %w", at, errTimeout))
	}
	tried := t.offered()
	const tooMany = "the server may allow fewer keys than were offered: name the right one, in the URL as ?identity=/path or in ~/.ssh/config by IdentityFile and IdentitiesOnly yes"
	key := "is " + t.end.user + " the right user name there, and is one of these keys in its ~/.ssh/authorized_keys?"
	switch {
	case strings.Contains(text, "ssh: disconnect"):
		return problem(gat.Denied, tooMany, fmt.Errorf("%s: %s: %w", at, tried, err))
	case broken(err) && len(t.tried) >= manyKeys && t.signed == "":
		return problem(gat.Denied, tooMany, fmt.Errorf("%s: the connection was closed after %d keys: %s: %w", at, len(t.tried), tried, err))
	case broken(err) || !strings.Contains(text, "unable to authenticate") && len(t.allowed) == 0:
		return problem(gat.Transient, "the server may refuse this user or be overloaded", fmt.Errorf("%s: the connection was closed: %s: %w", at, tried, err))
	case t.partial:
		return problem(gat.Denied, "openssh:// may know how: it uses the system's ssh",
			fmt.Errorf("%s: the server took a key and wants also: %s", at, strings.Join(t.allowed, ", ")))
	case len(t.tried) == 0 && !slices.Contains(t.allowed, "publickey") && len(t.allowed) > 0:
		return problem(gat.Denied, "openssh:// may know how: it uses the system's ssh",
			fmt.Errorf("%s: the server takes no keys, only: %s", at, strings.Join(t.allowed, ", ")))
	case len(t.tried) == 0:
		key = "make a key with ssh-keygen, and have it added to ~/.ssh/authorized_keys there"
	}
	return problem(gat.Denied, key, fmt.Errorf("%s: permission denied: %s", at, tried))
}

// farewell matches what a server says when it ends a connection (RFC 4253, section
// 11.1), in the words of the SSH library.
var farewell = regexp.MustCompile(`ssh: disconnect, reason \d+: "?(.*?)"?$`)

// said is what a server said at the end of a login, without the library's words.
func said(text string) string {
	if m := farewell.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	return printable(text)
}

// offered says which keys were tried and which could not be.
func (t *attempt) offered() string {
	_, notes := t.ring.list()
	tried := "no key was found (the agent, ~/.ssh/id_rsa, id_ecdsa, id_ed25519)"
	if !t.ring.config.UsualIdentities {
		tried = "no key was found of those in the ssh configuration"
	}
	if t.ring.identity != "" {
		tried = "the key " + t.ring.identity + " could not be used"
	}
	if len(t.tried) > 0 {
		tried = "tried " + strings.Join(t.tried, ", ")
	}
	if len(notes) > 0 {
		tried += "; " + strings.Join(notes, "; ")
	}
	return tried
}

// how says by what right the login was made, in a few words.
func (t *attempt) how(h *hop, k *keeper) string {
	var parts []string
	switch {
	case t.signed == "":
	case strings.HasPrefix(t.signed, "agent key"), strings.HasPrefix(t.signed, "certificate"):
		parts = append(parts, t.signed)
	default:
		parts = append(parts, "key "+t.signed)
	}
	if t.answered {
		parts = append(parts, "password or code")
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing asked")
	}
	text := strings.Join(parts, " and ") + ", by " + h.config.Source
	if k.note != "" {
		text += "; " + k.note
	}
	return text
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
