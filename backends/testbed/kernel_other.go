//go:build !linux

package testbed

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
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
