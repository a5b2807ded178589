package launcher

import "strconv"

// signalName names a signal as Linux numbers them; nodes may run another system than
// this machine.
func signalName(n int) string {
	names := [...]string{
		1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
		9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
		24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
	}
	if n > 0 && n < len(names) && names[n] != "" {
		return names[n]
	}
	return "signal " + strconv.Itoa(n)
}
