package ssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// Bounds on what a server may ask during one login. Servers have theirs: OpenSSH's
// sshd takes six wrong answers and two minutes.
const (
	maxWrong     = 6               // answers to one question, the first included
	maxRounds    = 32              // requests of keyboard-interactive, those without a question included
	maxQuestions = 8               // of one request
	maxSaid      = 24              // lines of the server's that are shown with one question
	confirmTime  = 2 * time.Minute // for a server's word on an answer: the user may have to confirm on a telephone
)

// errHungUp is why a question is withdrawn whose server has gone.
var errHungUp = errors.New("the server closed the connection while it waited for an answer")

const (
	hintNobody = "type the command in a terminal, have a key added that the server takes without a question, or use openssh:// with a connection that ssh keeps open (ControlMaster)"
	hintWrong  = "codes are good for a few seconds and once; some servers lock an account after several wrong answers: log in with ssh first"
)

// factors is what a server wanted in one login besides keys, and what came of it.
type factors struct {
	stage int  // steps of the login that the server has taken
	tries int  // exchanges of keyboard-interactive in this stage
	asked bool // the one under way had a question
	mute  bool // the server refuses keyboard-interactive without a question
	gave  int  // passwords typed
	typed int  // answers of this stage, to no avail so far

	answered bool // something was typed
	rounds   int
	said     []string // what it said when it asked nothing
	stopped  error    // why we went no further
}

// factor picks what the user has to do next. No method means that nothing is left
// to try.
func (t *attempt) factor(c *gossh.ClientAuthContext) (gossh.AuthMethod, error) {
	f := &t.factors
	if n := len(c.PartialSuccessMethods); n > f.stage {
		*f = factors{stage: n, answered: f.answered, rounds: f.rounds, said: f.said}
	}
	if f.tries > 0 && !f.asked {
		f.mute = true
	}
	switch {
	case slices.Contains(c.AllowedMethods, "keyboard-interactive") && !f.mute:
		if f.tries >= maxWrong {
			return nil, nil
		}
		f.tries++
		f.asked = false
		return gossh.KeyboardInteractive(t.challenge), nil
	case slices.Contains(c.AllowedMethods, "password") && f.gave == 0:
		// It is asked for again within the method: an error that is no refusal,
		// such as the wish for a new password, then ends the login.
		return gossh.RetryableAuthMethod(gossh.PasswordCallback(t.password), maxWrong), nil
	}
	return nil, nil
}

// challenge answers one request of keyboard-interactive (RFC 4256): the SSH library
// calls it. What the server says is shown to the user and never acted upon, but for
// one thing: a new password is not chosen here.
func (t *attempt) challenge(name, instruction string, questions []string, echos []bool) ([]string, error) {
	f := &t.factors
	t.prompted()
	if f.rounds++; f.rounds > maxRounds || len(questions) > maxQuestions {
		return nil, t.stop(problem(gat.Denied, "", errors.New("the server asks without end")))
	}
	if expired(append([]string{name, instruction}, questions...)...) {
		return nil, t.stop(expiry())
	}
	f.said = append(f.said, lines(name)...)
	f.said = append(f.said, lines(instruction)...)
	answers := make([]string, len(questions))
	for i, q := range questions {
		again := f.tries > 1 && !f.asked
		f.asked = true
		answer, err := t.put(q, !echos[i], again)
		if err != nil {
			return nil, t.stop(err)
		}
		answers[i] = answer
	}
	if len(questions) > 0 {
		f.typed, f.answered = f.typed+1, true
	}
	t.clock.set(confirmTime)
	return answers, nil
}

// password asks for the user's password, for the SSH library.
func (t *attempt) password() (string, error) {
	f := &t.factors
	t.prompted()
	f.gave++
	answer, err := t.put("password:", true, f.gave > 1)
	if err != nil {
		return "", t.stop(err)
	}
	f.typed, f.answered = f.typed+1, true
	t.clock.set(confirmTime)
	return answer, nil
}

// prompted notes that this login cannot be made again without the user.
func (t *attempt) prompted() {
	if t.ring.prompted != nil {
		t.ring.prompted(t.ctx)
	}
}

// put puts one question of the server's to the user. Nothing of a server looks like
// a question of ours: its lines are marked, and the question has the server's name.
func (t *attempt) put(question string, secret, again bool) (string, error) {
	words := lines(question)
	if len(words) == 0 {
		words = []string{"(an empty question):"}
	}
	said := append(t.said, words[:len(words)-1]...)
	t.said = nil
	if n := len(said) - maxSaid; n > 0 {
		said = append(said[:maxSaid:maxSaid], fmt.Sprintf("(%d more lines)", n))
	}
	at := t.end.String()
	text := "(" + at + ") " + words[len(words)-1]
	if len(said) > 0 {
		text = at + " says:\n  | " + strings.Join(said, "\n  | ") + "\n" + text
	}
	if again {
		text = "not accepted, again: " + text
	}
	if t.ring.ask == nil {
		return "", t.nobody(errors.New("nobody can be asked"))
	}
	resume := t.clock.pause()
	defer resume()
	answer, err := t.ring.ask(t.ctx, t.ring.site, text, secret)
	if err == nil {
		return answer, nil
	}
	refused, classified := errors.AsType[*gat.Error](err)
	switch {
	case errors.Is(context.Cause(t.ctx), errHungUp):
		// One that nobody has seen yet may be put again.
		if classified && refused.Class == gat.Transient {
			return "", problem(gat.Transient, "", fmt.Errorf("%w: %w", errHungUp, refused.Err))
		}
		return "", problem(gat.Denied, "", errHungUp)
	case t.ctx.Err() != nil:
		return "", context.Cause(t.ctx)
	case classified && errors.Is(err, gat.ErrUnanswered):
		return "", problem(refused.Class, refused.Hint, refused.Err)
	case classified:
		err = refused.Err
	}
	return "", t.nobody(err)
}

// nobody is the error of a question that could not be put.
func (t *attempt) nobody(err error) error {
	wants := "the server asks for a password or a code"
	if tried := t.offered(); tried != "" && t.stage == 0 {
		wants = tried + "; then " + wants
	}
	return problem(gat.Denied, hintNobody, fmt.Errorf("%s: %w", wants, err))
}

// stop ends the login for a reason of ours.
func (t *attempt) stop(err error) error {
	if t.stopped == nil {
		t.stopped = err
	}
	return t.stopped
}

func expiry() error {
	return problem(gat.Denied, shell.HintExpired, errors.New("the password has expired: the server asks for a new one"))
}

// expired tells whether a server wants a new password.
func expired(texts ...string) bool { return shell.Expired(texts...) }

// lines makes text from a server fit to show.
func lines(text string) []string { return shell.Lines(text) }
