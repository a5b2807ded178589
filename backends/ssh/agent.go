package ssh

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	agentTime = 2 * time.Second  // to connect to the agent and list its keys
	touchTime = 60 * time.Second // to sign: the user may have to confirm or touch a device
)

// agentKeys lists the keys of the agent, nil when there is none. An agent that does not
// answer is done without; the error then says why.
func agentKeys(path string) ([]*key, []error) {
	if path == "" {
		path = os.Getenv("SSH_AUTH_SOCK")
	}
	if path == "" || path == "none" {
		return nil, nil
	}
	conn, err := net.DialTimeout("unix", path, agentTime)
	if err != nil {
		return nil, []error{fmt.Errorf("the agent: %w", err)}
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(agentTime))
	list, err := agent.NewClient(conn).List()
	if err != nil {
		return nil, []error{fmt.Errorf("the agent at %s: %w", path, err)}
	}
	var keys []*key
	var errs []error
	for _, held := range list {
		pub, err := gossh.ParsePublicKey(held.Blob)
		if err != nil {
			errs = append(errs, fmt.Errorf("the agent's key %s: %w", printable(held.Comment), err))
			continue
		}
		name := "agent key"
		if held.Comment != "" {
			name += " " + printable(held.Comment)
		}
		keys = append(keys, &key{name: name, pub: pub, agent: path})
	}
	return keys, errs
}

// agentSign has the agent sign. The user may have to confirm.
func (k *key) agentSign(ctx context.Context, data []byte, algorithm string) (*gossh.Signature, error) {
	ctx, cancel := context.WithTimeout(ctx, touchTime)
	defer cancel()
	conn, err := (&net.Dialer{Timeout: agentTime}).DialContext(ctx, "unix", k.agent)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var flags agent.SignatureFlags
	switch algorithm {
	case gossh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case gossh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	return agent.NewClient(conn).SignWithFlags(k.pub, data, flags)
}
