package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zorilla-grid/zorilla/launcher"
)

const checkHelp = `It logs in everywhere at once and tells what is found: by which URL and key, the
platform, cores, memory, scratch that may be used with its file system, Java, whether
the server forwards connections, how many of the hosts behind it can be used, how far
its clock is off, whether it has a route outward, and what its administrator allows;
of queueing systems the queues with their limits, whether an account is needed, and
how pilots will get to the compute nodes. It submits nothing and leaves nothing
behind. It sends nothing to find out about routes: a firewall may still drop what
leaves. What cannot be used is told with what to do about it.

With --deep it also runs a job of one small worker at each site that can be used,
and tells what that saw where it ran: the compute node, the cores it was granted,
scratch and Java there, and how it is connected. It waits for a queue as
long as --wait says.

Examples:
   zorilla sites check
   zorilla sites check --deep --site das --wait 30m

Exit status: 0 when every site can be used, 1 when one cannot, 2 for a mistake on
the command line or in the sites file.`

func sitesCommand(stdout, stderr *os.File) *cli.Command {
	return &cli.Command{
		Name:      "sites",
		Usage:     "log in everywhere and tell what works there (sites check)",
		UsageText: "check [flags]",
		Subcommands: []*cli.Command{{
			Name:        "check",
			Usage:       "log in everywhere and tell what works there",
			UsageText:   "[flags]",
			Description: checkHelp,
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "sites", Usage: "sites `FILE`"},
				&cli.StringSliceFlag{Name: "site", Usage: "look at the site `NAME` of the file only; may be repeated"},
				&cli.BoolFlag{Name: "deep", DisableDefaultText: true, Usage: "also run a small job at each site"},
				&cli.StringFlag{Name: "wait", Usage: "with --deep: wait for a queue at most `TIME`", DefaultText: "5m"},
				&cli.StringFlag{Name: "pilot", Usage: "with --deep: use `FILE` as the pilot binary", DefaultText: "$ZORILLA_PILOT, else found or built"},
				&cli.BoolFlag{Name: "json", DisableDefaultText: true, Usage: "print it as one line of JSON"},
			},
			Action: func(c *cli.Context) error { return checkSites(c, stdout, stderr) },
		}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("zorilla sites", "unknown command %q; there is sites check", c.Args().First())
			}
			return usage("zorilla sites check", "write zorilla sites check")
		},
	}
}

func checkSites(c *cli.Context, stdout, stderr *os.File) error {
	if err := noArguments(c); err != nil {
		return err
	}
	chosen, backends, err := sites(c.String("sites"), c.StringSlice("site"))
	if err != nil {
		return &usageError{err, ""}
	}
	o := launcher.CheckOptions{Backends: backends}
	screen := newScreen(stdout, stderr, false)
	asker := newAsker(screen)
	o.Ask = asker.Ask
	defer asker.Close()
	if !c.Bool("deep") && (c.IsSet("wait") || c.IsSet("pilot")) {
		return usage("zorilla sites check", "--wait and --pilot go with --deep")
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	wait, err := timeFlag(c, "wait", time.Second)
	if err != nil {
		return &usageError{err, ""}
	}
	if c.Bool("deep") {
		opts := launcher.Options{Backends: backends, Pilot: c.String("pilot"), Version: version(), Ask: asker.Ask,
			Command: append([]string{"zorilla"}, os.Args[1:]...)}
		o.Probe = func(ctx context.Context, site *launcher.Site) launcher.ProbeCheck {
			return launcher.ProbeSite(ctx, site, cmp.Or(wait, defaultProbeWait), opts)
		}
	}
	checks := launcher.CheckSites(ctx, chosen, o)
	if ctx.Err() != nil {
		return exitStatus(launcher.ExitInterrupted)
	}
	if c.Bool("json") {
		line, err := json.Marshal(struct {
			V     int                  `json:"v"`
			Sites []launcher.SiteCheck `json:"sites"`
		}{1, checks})
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s\n", line)
	} else {
		printChecks(stdout, checks)
	}
	for _, s := range checks {
		if !s.Usable {
			return exitStatus(exitUnusable)
		}
	}
	return nil
}

// exitUnusable is the status when a site cannot be used.
const exitUnusable = 1

// defaultProbeWait is how long a probe waits for a queue.
const defaultProbeWait = 5 * time.Minute

// printChecks writes what was found as a table of the sites, and below it what
// there is to say about each.
func printChecks(out io.Writer, checks []launcher.SiteCheck) {
	t := newTable(out, "SITE", "USABLE", "LOGIN", "PLATFORM", "CORES", "MEMORY", "SCRATCH", "FORWARDS", "HOSTS", "CLOCK", "OUTBOUND", "BY", "JAVA")
	for _, s := range checks {
		t.row(s.Site, yesNo(s.Usable), loginCell(s), dash(s.Platform), orDash(s.Cores), size(s.Memory), scratchCell(s),
			dash(s.Forwarding), hostsCell(s), clockCell(s), dash(s.Outbound), dash(s.By), javaCell(s))
	}
	t.flush()
	for _, s := range checks {
		printCheck(out, s)
	}
}

// printCheck writes what there is to say about one site.
func printCheck(out io.Writer, s launcher.SiteCheck) {
	if len(s.Wrong)+len(s.Notes)+len(s.Behind) == 0 && s.Queue == nil && s.Probe == nil {
		return
	}
	fmt.Fprintf(out, "\n%s", s.Site)
	if q := s.Queue; q != nil {
		what := strings.TrimSpace(q.Scheduler + " " + q.Version)
		if q.Scheduler != "" && strings.HasPrefix(q.Version, q.Scheduler) {
			what = q.Version
		}
		fmt.Fprintf(out, ": %s", what)
		if q.AccountNeeded {
			fmt.Fprint(out, ", an account is needed")
		}
		if len(q.Accounts) > 0 {
			fmt.Fprintf(out, ", accounts %s", strings.Join(q.Accounts, ", "))
		}
	}
	fmt.Fprintln(out)
	for _, text := range s.Wrong {
		say(out, "not usable: "+text)
	}
	if s.Queue != nil && len(s.Queue.Queues) > 0 {
		printQueues(out, s.Queue.Queues)
	}
	if n := len(s.Behind); n > 0 {
		fmt.Fprintf(out, "  %d of %d %s can be used\n", usable(s.Behind), n, plural(n, "host"))
	}
	for _, text := range s.Notes {
		say(out, text)
	}
	if s.Queue != nil && s.Probe == nil {
		fmt.Fprintln(out, "  the table has what its head node has; --deep looks at a compute node")
	}
	if p := s.Probe; p != nil && p.Host != "" {
		printProbe(out, p)
	}
}

// printProbe writes what a worker saw where it ran.
func printProbe(out io.Writer, p *launcher.ProbeCheck) {
	fmt.Fprintf(out, "  a worker ran on %s after %s: %d %s offered, %d %s to use, %s of scratch in %s, java %s", p.Host, seconds(p.Waited),
		p.Slots, plural(p.Slots, "slot"), p.Cores, plural(p.Cores, "core"), size(p.Free), p.Scratch, javaVersions(p.Java))
	switch {
	case p.Link != "" && p.Hub:
		fmt.Fprintf(out, "; its pilot had a %s link to the hub", p.Link)
	case p.Link != "":
		fmt.Fprintf(out, "; its pilot had a %s link to this machine", p.Link)
	}
	fmt.Fprintln(out)
}

func printQueues(out io.Writer, queues []launcher.QueueLimit) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  QUEUE\tLIMIT\tNODES\tFREE\tSLOTS\tUSABLE")
	for _, q := range queues {
		name, limit, why := q.Name, "none known", "yes"
		if q.Default {
			name += " (default)"
		}
		if q.Walltime > 0 {
			limit = launcher.FormatDuration(time.Duration(q.Walltime * float64(time.Second)))
		}
		if !q.Usable {
			why = "no"
			if q.Why != "" {
				why += ": " + q.Why
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d\t%s\t%s\n", name, limit, orDash(q.Nodes), q.Free, orDash(q.Slots), why)
	}
	w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func size(n int64) string {
	if n == 0 {
		return "-"
	}
	return launcher.FormatSize(n)
}

func loginCell(s launcher.SiteCheck) string {
	if s.URL == "" {
		return "-"
	}
	return fmt.Sprintf("%s in %.1f s", s.URL, s.Login)
}

func scratchCell(s launcher.SiteCheck) string {
	if s.Scratch == "" {
		return "-"
	}
	text := fmt.Sprintf("%s, %s free", path.Dir(s.Scratch), launcher.FormatSize(s.Free))
	if s.Kind != "" {
		text += ", " + s.Kind
	}
	return text
}

// usable counts the hosts that can be used.
func usable(hosts []launcher.HostCheck) (n int) {
	for _, h := range hosts {
		if h.Error == "" {
			n++
		}
	}
	return n
}

func hostsCell(s launcher.SiteCheck) string {
	if len(s.Behind) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", usable(s.Behind), len(s.Behind))
}

// clockCell says how far a clock is off; a second is our own inaccuracy.
func clockCell(s launcher.SiteCheck) string {
	switch off := time.Duration(s.ClockOffset * float64(time.Second)); {
	case s.Platform == "":
		return "-"
	case off.Abs() < time.Second:
		return "right"
	case off.Abs() < time.Minute:
		return fmt.Sprintf("%+.0f s", s.ClockOffset)
	default:
		return fmt.Sprintf("%+.0f min", off.Minutes())
	}
}

// say writes a sentence about a site, in lines that fit the terminal if there is one.
func say(out io.Writer, text string) {
	width := widthOf(out)
	if width == 0 {
		fmt.Fprintf(out, "  %s\n", text)
		return
	}
	var b strings.Builder
	wrapTo(&b, text, "  ", "    ", width)
	io.WriteString(out, b.String())
}

func javaCell(s launcher.SiteCheck) string {
	if len(s.Java) == 0 && len(s.JavaModules) > 0 {
		return "module " + s.JavaModules[0]
	}
	return javaVersions(s.Java)
}

func javaVersions(found []launcher.JavaCheck) string {
	var versions []string
	for _, j := range found {
		versions = append(versions, j.Version)
	}
	return dash(strings.Join(versions, ", "))
}
