package worker

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tree is a job object. It is killed with the last handle to it, that is with
// this process at the latest.
type tree struct{ job windows.Handle }

func (t *tree) start(cmd *exec.Cmd) error {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return os.NewSyscallError("CreateJobObject", err)
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
		windows.CloseHandle(job)
		return os.NewSyscallError("SetInformationJobObject", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if err := cmd.Start(); err != nil {
		windows.CloseHandle(job)
		return err
	}
	err = cmd.Process.WithHandle(func(h uintptr) {
		if windows.AssignProcessToJobObject(job, windows.Handle(h)) != nil {
			windows.TerminateProcess(windows.Handle(h), 1) // better none than one that outlives us
		}
	})
	t.job = job
	return err
}

func (t *tree) terminate() {} // Windows has no signal that asks a program to end
func (t *tree) kill()      { windows.TerminateJobObject(t.job, 1) }
func (t *tree) close()     { windows.CloseHandle(t.job) }

func signalName(s syscall.Signal) string { return s.String() }
