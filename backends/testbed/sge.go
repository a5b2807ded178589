package testbed

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

const (
	sgePid      = "/run/gridengine/qmaster.pid"
	sgeCell     = "/var/lib/gridengine/default"
	sgeSpool    = "/var/spool/gridengine"
	sgeLog      = "/var/spool/gridengine/qmaster/messages"
	sgeQueues   = 2
	sgePerQueue = 2 // slots of a node
	sgeMaker    = "/usr/local/sbin/make-cell"
)

//go:embed sge.sh
var sgeScript string

// sge is a [Cluster]'s Grid Engine. All hosts have the cell of the head, as they
// have elsewhere by NFS.
type sge struct{ *Cluster }

func (s *sge) packages() []string {
	// mailutils, because what gridengine-common takes instead wants a mail server.
	return []string{"mailutils", "gridengine-common", "gridengine-master", "gridengine-exec", "gridengine-client"}
}

func (s *sge) disks() []string { return []string{sgeSpool} }

func (s *sge) shares() []string { return []string{sgeCell} }

func (s *sge) prepare() error { return nil }

func (s *sge) files(h *Host) []hostFile {
	if h != s.Head {
		return nil
	}
	return []hostFile{{path: sgeMaker, content: []byte(sgeScript), mode: 0o700}}
}

func (s *sge) start(ctx context.Context, h *Host) error {
	if h != s.Head {
		_, err := h.Exec(ctx, "sh", "-c", `install -d -o sgeadmin -g sgeadmin /run/gridengine `+sgeSpool+`/execd && exec /usr/sbin/sge_execd >/var/log/sge_execd.log 2>&1`)
		return err
	}
	argv := []string{"sh", sgeMaker}
	if _, err := h.readFile(sgeCell + "/common/act_qmaster"); err != nil {
		for _, node := range s.Nodes {
			argv = append(argv, node.Name)
		}
	}
	_, err := h.Exec(ctx, argv...)
	return err
}

// instance is a line of qstat -f: a queue on a host. One in a bad state has that
// behind the architecture.
var instance = regexp.MustCompile(`(?m)^[a-z]+\.q@\S+ .* lx-\S+ *$`)

func (s *sge) ready(ctx context.Context) (bool, error) {
	out, err := s.Head.Exec(ctx, "qstat", "-f")
	return len(instance.FindAll(out, -1)) == sgeQueues*len(s.Nodes), err
}

func (s *sge) controller(ctx context.Context, run bool) error {
	if run {
		return s.start(ctx, s.Head)
	}
	return s.Head.endDaemon(ctx, sgePid)
}

func (s *sge) jobs(ctx context.Context) ([]string, error) {
	out, err := s.Head.Exec(ctx, "qstat", "-u", "*")
	if err != nil {
		return nil, err
	}
	lines := nonEmptyLines(out)
	return lines[min(2, len(lines)):], nil // without the header
}

func (s *sge) fill(ctx context.Context, command string) (int, error) {
	each := sgeQueues * sgePerQueue
	_, err := s.Head.ExecAs(ctx, "bob", "sh", "-c", `echo "exec sh -c '$1'" | qsub -terse -N fill -j y -o /dev/null -t "1-$2"`, "sh",
		command, fmt.Sprint(2*each*len(s.Nodes))) // as many again, for those that a queue ends early
	return each, err
}

func (s *sge) remove(ctx context.Context, user string) error {
	out, err := s.Head.Exec(ctx, "qdel", "-u", user)
	if err != nil && strings.Contains(string(out)+err.Error(), "registered for the following users") {
		return nil
	}
	return err
}

func (s *sge) logs(h *Host) []string {
	if h == s.Head {
		return []string{sgeLog}
	}
	return []string{sgeSpool + "/execd/" + h.Name + "/messages"}
}
