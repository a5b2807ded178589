//go:build !linux

package testbed

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
)

// Require ends every test before it gets here.
var errLinuxOnly = errors.New("the testbed is made of Linux namespaces")

func newNetwork() (*os.File, error)                           { return nil, errLinuxOnly }
func inNetwork(*os.File, func() error) error                  { return errLinuxOnly }
func inHost(*os.File, func() error) error                     { return errLinuxOnly }
func openPidfd(int) (*os.File, error)                         { return nil, errLinuxOnly }
func mountScratch(path string, size int64, noexec bool) error { return errLinuxOnly }
func unmountScratch(path string) error                        { return errLinuxOnly }
func ownSession(*exec.Cmd)                                    {}
func asUser(*exec.Cmd, uint32)                                {}
func terminateGroup(int) error                                { return errLinuxOnly }
func tryLock(*os.File) (bool, error)                          { return false, errLinuxOnly }
func ownerOf(fs.FileInfo) uint32                              { return 0 }

func startInit(*os.File, string, string, []disk, *exec.Cmd, func() error) error { return errLinuxOnly }

// Linux310 returns an ordinary host, which cannot be started either.
func Linux310(name string) Oddity { return Oddity{Name: name} }

// AArch64 skips or fails the test: it needs Linux.
func AArch64(t testing.TB, _ string) Oddity {
	t.Helper()
	Require(t)
	return Oddity{}
}
