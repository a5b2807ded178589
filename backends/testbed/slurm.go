package testbed

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// Ports of Slurm. Those for srun are fixed so that a wall can have doors.
const (
	slurmctldPort = 6817
	srunFirst     = 61000
	srunLast      = 61099
)

const (
	slurmctldPid = "/run/slurmctld.pid"
	slurmctldLog = "/var/log/slurm/slurmctld.log"
	slurmdLog    = "/var/log/slurm/slurmd.log"
	slurmState   = "/var/lib/slurm"
	slurmConf    = "/etc/slurm/slurm.conf"
)

//go:embed prun.sh
var prunScript string

// slurm is a [Cluster]'s Slurm.
type slurm struct {
	*Cluster
	key      []byte   // of munge, by which hosts know each other's users
	settings []string // lines at the end of slurm.conf
}

func (s *slurm) packages() []string { return []string{"slurm-wlm", "slurm-client", "munge"} }

func (s *slurm) disks() []string { return []string{slurmState} }

func (s *slurm) shares() []string { return nil }

func (s *slurm) prepare() error {
	s.key = make([]byte, 128)
	rand.Read(s.key)
	return nil
}

// conf is slurm.conf. What takes minutes elsewhere takes seconds here.
// Processes of a job are found by their parents: hosts have no control groups.
func (s *slurm) conf() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("ClusterName=%s", s.Spec.Name)
	line("SlurmctldHost=%s(%s)", s.Head.Name, s.Head.InnerAddr)
	line("SlurmUser=slurm\nAuthType=auth/munge")
	line("AuthInfo=cred_expire=15") // so long a job that is requeued waits
	line("SlurmctldPort=%d\nSrunPortRange=%d-%d", slurmctldPort, srunFirst, srunLast)
	line("StateSaveLocation=%[1]s/slurmctld\nSlurmdSpoolDir=%[1]s/slurmd", slurmState)
	line("SlurmctldPidFile=%s\nSlurmdPidFile=/run/slurmd.pid", slurmctldPid)
	line("SlurmctldLogFile=%s\nSlurmdLogFile=%s", slurmctldLog, slurmdLog)
	line("SlurmctldDebug=info\nSlurmdDebug=info\nMailProg=/bin/true")
	line("MpiDefault=none\nSwitchType=switch/none\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none")
	line("JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/none")
	line("SchedulerType=sched/backfill\nSchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0")
	line("SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSlurmdParameters=config_overrides\nReturnToService=2")
	line("TreeWidth=65533\nTCPTimeout=1\nMessageTimeout=5\nSlurmctldTimeout=10\nSlurmdTimeout=10\nMinJobAge=30\nKillWait=3")
	line("GresTypes=gpu")
	nodes := make([]string, len(s.Nodes))
	for i, h := range s.Nodes {
		nodes[i] = h.Name
		more := " Feature=new"
		if i < 2 {
			more = " Feature=old"
		}
		if i == len(s.Nodes)-1 {
			more += " Gres=gpu:2"
		}
		line("NodeName=%s CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=1000%s State=UNKNOWN", h.Name, more)
	}
	line("PartitionName=batch Nodes=%s Default=YES MaxTime=04:00:00 DefaultTime=00:30:00 State=UP", strings.Join(nodes, ","))
	line("PartitionName=short Nodes=%s MaxTime=00:02:00 DefaultTime=00:01:00 MaxNodes=1 State=UP", strings.Join(nodes[:min(2, len(nodes))], ","))
	line("PartitionName=members Nodes=%s AllowAccounts=physics State=UP", nodes[0])
	line("PartitionName=down Nodes=%s MaxTime=00:10:00 State=DOWN", nodes[0])
	for _, l := range s.settings {
		line("%s", l)
	}
	return []byte(b.String())
}

func (s *slurm) files(h *Host) []hostFile {
	var more []hostFile
	if h == s.Head && s.Spec.Prun {
		more = append(more, hostFile{path: "/usr/local/bin/prun", content: []byte(prunScript), mode: 0o755})
	}
	return append(more, []hostFile{
		{path: "/etc/munge/munge.key", content: s.key, mode: 0o400, owner: "munge"},
		{path: slurmConf, content: s.conf(), mode: 0o644},
		// Nothing is mounted there, and slurmd does not start without a word on it.
		{path: "/etc/slurm/cgroup.conf", content: []byte("CgroupPlugin=cgroup/v1\n"), mode: 0o644},
		{path: "/etc/slurm/gres.conf", content: fmt.Appendf(nil, "NodeName=%s Name=gpu File=/dev/fakegpu[0-1]\n", s.Nodes[len(s.Nodes)-1].Name), mode: 0o644},
	}...)
}

// slurmDirs makes what the daemons do not make themselves.
const slurmDirs = `set -e
install -d -o munge -g munge /run/munge /var/lib/munge /var/log/munge
install -d -o slurm -g slurm /var/log/slurm /var/lib/slurm /var/lib/slurm/slurmctld
install -d /var/lib/slurm/slurmd
ln -s null /dev/fakegpu0
ln -s null /dev/fakegpu1`

// set replaces the lines at the end of slurm.conf, on all hosts.
func (s *slurm) set(ctx context.Context, lines ...string) error {
	s.settings = lines
	for _, h := range s.Hosts() {
		if err := h.WriteFile(slurmConf, s.conf(), 0o644); err != nil {
			return err
		}
	}
	_, err := s.Head.Exec(ctx, "scontrol", "reconfigure")
	return err
}

func (s *slurm) start(ctx context.Context, h *Host) error {
	daemon := "/usr/sbin/slurmd"
	if h == s.Head {
		daemon = "/usr/sbin/slurmctld"
	}
	for _, argv := range [][]string{
		{"sh", "-c", slurmDirs},
		{"runuser", "-u", "munge", "--", "/usr/sbin/munged", "--force"},
		{daemon},
	} {
		if _, err := h.Exec(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

func (s *slurm) ready(ctx context.Context) (bool, error) {
	out, err := s.Head.Exec(ctx, "sinfo", "-h", "-p", "batch", "-t", "idle,mixed,allocated,completing", "-o", "%D %T")
	if err != nil {
		return false, err
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		var some int
		var state string
		// A star says that the node does not answer.
		if _, err := fmt.Sscan(line, &some, &state); err == nil && !strings.HasSuffix(state, "*") {
			n += some
		}
	}
	return n == len(s.Nodes), nil
}

func (s *slurm) controller(ctx context.Context, run bool) error {
	if run {
		_, err := s.Head.Exec(ctx, "/usr/sbin/slurmctld")
		return err
	}
	return s.Head.endDaemon(ctx, slurmctldPid)
}

func (s *slurm) jobs(ctx context.Context) ([]string, error) {
	out, err := s.Head.Exec(ctx, "squeue", "-h", "-o", "%i of %u: %T (%r) %j on %N")
	if err != nil {
		return nil, err
	}
	return nonEmptyLines(out), nil
}

func (s *slurm) fill(ctx context.Context, command string) (int, error) {
	_, err := s.Head.ExecAs(ctx, "bob", "sbatch", "-p", "batch", "-N", strconv.Itoa(len(s.Nodes)), "--exclusive",
		"-D", "/", "-o", "/dev/null", "-J", "fill", "--wrap", "srun sh -c '"+command+"'")
	return 1, err
}

func (s *slurm) remove(ctx context.Context, user string) error {
	_, err := s.Head.Exec(ctx, "scancel", "-u", user)
	return err
}

func (s *slurm) logs(h *Host) []string {
	if h == s.Head {
		return []string{slurmctldLog}
	}
	return []string{slurmdLog}
}
