//go:build !unix

package openssh

import (
	"errors"
	"os"
)

// shares says whether this system's ssh lets several processes use one connection.
const shares = false

func (m *mux) pass(...*os.File) error { return errors.ErrUnsupported }
