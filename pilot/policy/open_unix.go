//go:build unix

package policy

import "syscall"

const openNoWait = syscall.O_NONBLOCK

var errNotDir error = syscall.ENOTDIR // /etc/zorilla is a file: then there is no policy in it
