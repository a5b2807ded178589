//go:build !linux

package testbed

import "os"

type tuns struct{ close func() }

func openTUNs([]*os.File) (*tuns, error)     { return nil, errLinuxOnly }
func (*tuns) start(*router) error            { return errLinuxOnly }
func tune(*os.File, map[string]string) error { return errLinuxOnly }
