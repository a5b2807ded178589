package pilot

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// selfLink leads to the program of whoever follows it, whatever has become of
// its name.
const selfLink = "/proc/self/exe"

// ourselves is a path that this program can be started by: on Linux also after its
// file was removed. It was started as name, which it should be given again: a
// program of several trades goes by it.
func ourselves(name string) (string, error) {
	if runtime.GOOS == "linux" {
		if _, err := os.Readlink(selfLink); err == nil {
			return selfLink, nil
		}
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	return os.Executable()
}

// leaveNothing removes what came with an agent's job beside its boot file, which
// was removed: the file of this program, and the directory when that was all it
// held. From then on nothing can be left behind by whoever kills us.
func leaveNothing(bootFile string) error {
	boot, err := filepath.Abs(bootFile)
	if err != nil {
		return fmt.Errorf("boot file: %w", err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(boot))
	if err != nil {
		return nil // it is gone
	}
	program, err := os.Readlink(selfLink)
	if err != nil || filepath.Dir(program) != dir || checkDir(dir) != nil {
		return nil // the program was not carried, or can be started by its name only
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("leave %s: %w", dir, err)
	}
	if err := os.Remove(program); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove what came with the job: %w", err)
	}
	os.Remove(dir) // only when it is empty
	return nil
}
