package ssh

import "os"

// lockFile does nothing: locks of Windows keep readers away too, and a line is
// appended in one go.
func lockFile(*os.File) (unlock func()) { return func() {} }
