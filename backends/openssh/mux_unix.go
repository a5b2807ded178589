//go:build unix

package openssh

import (
	"os"
	"syscall"
)

// shares says whether this system's ssh lets several processes use one connection.
const shares = true

// pass hands open files on, one by one as the master takes them.
func (m *mux) pass(files ...*os.File) error {
	for _, f := range files {
		if _, _, err := m.conn.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(f.Fd())), nil); err != nil {
			return err
		}
	}
	return nil
}
