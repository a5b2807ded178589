package pilot

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A ticket is one of a number of things that a user may have on a host, all
// sessions and scratch directories together: the name of a socket that nobody
// talks to. It leaves no file behind, and goes with the process that has it,
// however that ends. Hosts are told apart as networks are. Another user who takes
// such names keeps this one's pilots away, as one who makes this one's directories
// does, and gains nothing.
type ticket struct {
	fd     int
	number int
}

// takeTicket takes a ticket of a kind that nobody has; nil when somebody does.
func takeTicket(kind string, number int) *ticket {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	name := "@" + kind + "-" + strconv.Itoa(number)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd) //nolint:errcheck // nothing was written
		return nil
	}
	return &ticket{fd, number}
}

func (t *ticket) release() { unix.Close(t.fd) } //nolint:errcheck // nothing was written

// keepTo keeps this process, and what it starts, to as many processors as it has
// tickets: those of one user's pilots differ, and those of several users mostly do.
func keepTo(tickets []*ticket) {
	var all, mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil || all.Count() <= len(tickets) {
		return
	}
	var cpus []int
	for cpu := 0; len(cpus) < all.Count(); cpu++ {
		if all.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	first := os.Getuid() * 7
	for _, t := range tickets {
		mine.Set(cpus[(first+t.number)%len(cpus)])
	}
	eachThread(func(tid int) error { return unix.SchedSetaffinity(tid, &mine) }) //nolint:errcheck // what is offered is bounded in any case
}
