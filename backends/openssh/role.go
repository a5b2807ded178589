package openssh

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
)

// The variables that tell a program started by ssh what is wanted of it. They hold
// the path of a socket of the process that started ssh.
const (
	askVariable   = "ZORILLA_SSH_ASK"
	relayVariable = "ZORILLA_SSH_RELAY"
)

// The kinds of prompts, as ssh tells them in SSH_ASKPASS_PROMPT.
const (
	kindQuestion byte = 'q'
	kindConfirm  byte = 'c' // yes or no
	kindNotice   byte = 'n' // as long as the user has to do something
)

const maxPrompt = 4 << 10 // bytes of a prompt or an answer

// Role does what a program that [Backend.Self] names has to do when ssh
// starts it: to ask for ssh, or to be the connection that ssh speaks over. It
// reports whether that is what this process was started for, and then
// the status to exit with. Call it before anything else.
func Role() (status int, played bool) {
	if path := os.Getenv(relayVariable); path != "" && len(os.Args) == 1 {
		return exit(relay(path, os.Stdin, os.Stdout)), true
	}
	if path := os.Getenv(askVariable); path != "" && len(os.Args) == 2 {
		kind := kindQuestion
		switch os.Getenv("SSH_ASKPASS_PROMPT") {
		case "confirm":
			kind = kindConfirm
		case "none":
			kind = kindNotice
		}
		return exit(askOver(path, kind, os.Args[1], os.Stdout)), true
	}
	return 0, false
}

// exit turns an error into an exit status. Whom it would be told knows already.
func exit(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// askOver passes a prompt of ssh's on and prints the answer.
func askOver(path string, kind byte, prompt string, out io.Writer) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	if len(prompt) > maxPrompt {
		prompt = prompt[:maxPrompt]
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(prompt)))
	if _, err := conn.Write(append(head, prompt...)); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxPrompt))
	if err != nil || len(answer) == 0 || answer[0] != 'y' {
		return fmt.Errorf("no answer: %w", err)
	}
	_, err = out.Write(append(answer[1:], '\n'))
	return err
}

// relay copies both ways between a socket and standard input and output.
func relay(path string, in io.Reader, out io.Writer) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() { // ends with the process
		io.Copy(conn, in)
		conn.(*net.UnixConn).CloseWrite()
	}()
	_, err = io.Copy(out, conn)
	return err
}
