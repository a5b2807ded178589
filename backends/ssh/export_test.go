package ssh

import (
	"context"
)

// FailureAfterPassword is what a login says whose server took a password and then
// ended it with err.
func FailureAfterPassword(err error) error {
	t := new(keyring).attempt(context.Background(), endpoint{user: "me", host: "h", port: "22"}, nil)
	t.typed, t.answered = 1, true
	return classified("log in", "ssh://h", t.failure(context.Background(), false, err))
}
