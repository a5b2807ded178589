package launcher

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// receiptWidth is the width of a receipt's lines, in characters, where they can be broken.
const receiptWidth = 78

// Text returns the receipt as a document for people, of lines that fit 80 columns
// wherever they can be broken.
func (r Receipt) Text() string {
	w := &receiptWriter{zone: time.UTC}
	w.head(r)
	for _, s := range r.Sites {
		w.site(r, s)
	}
	w.total(r)
	return w.b.String()
}

// receiptWriter writes labelled paragraphs.
type receiptWriter struct {
	b    strings.Builder
	zone *time.Location
}

// labelWidth is the width of the column of labels.
const labelWidth = 11

// row writes a label and, beside it, a text that may take several lines.
func (w *receiptWriter) row(indent int, label, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	pad := strings.Repeat(" ", indent)
	first := pad + fmt.Sprintf("%-*s", labelWidth, label)
	rest := pad + strings.Repeat(" ", labelWidth)
	w.wrap(first, rest, text)
}

// item writes a line of a list.
func (w *receiptWriter) item(indent int, format string, args ...any) {
	pad := strings.Repeat(" ", indent)
	w.wrap(pad+"- ", pad+"    ", fmt.Sprintf(format, args...))
}

// wrap breaks a text between words; a word is never broken.
func (w *receiptWriter) wrap(first, rest, text string) {
	line, empty := first, true
	for _, word := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > receiptWidth {
			w.b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	w.b.WriteString(strings.TrimRight(line, " ") + "\n")
}

func (w *receiptWriter) line(text string) { w.b.WriteString(text + "\n") }

func (w *receiptWriter) head(r Receipt) {
	title := "Receipt of the run " + r.Run
	w.line(title)
	w.line(strings.Repeat("=", len(title)))
	w.line("")
	if len(r.Command) > 0 {
		w.row(0, "What", "%s", printed(strings.Join(r.Command, " ")))
	}
	if r.App != "" {
		w.row(0, "", "the application %s, %d %s", printed(path.Base(strings.ReplaceAll(r.App, `\`, "/"))), r.Workers, plural(r.Workers, "worker"))
	}
	if r.User != "" || r.Machine != "" {
		w.row(0, "Who", "%s, from the machine %s%s", cmp.Or(printed(r.User), "somebody"), cmp.Or(printed(r.Machine), "not known"), dirText(r.Dir))
	}
	w.row(0, "When", "%s", w.period(r))
	w.row(0, "Outcome", "%s", outcomeText(r))
	w.row(0, "Written", "%s, by zorilla%s", w.moment(r.Written), versionText(r.Version))
	for _, text := range r.Unread {
		w.row(0, "Missing", "%s", printed(text))
	}
}

func dirText(dir string) string {
	if dir == "" {
		return ""
	}
	return ", in " + printed(dir)
}

func versionText(v string) string {
	if v == "" {
		return ""
	}
	return " " + v
}

func (w *receiptWriter) moment(t time.Time) string {
	if t.IsZero() {
		return "at a time that is not known"
	}
	return t.In(w.zone).Format("2006-01-02 15:04:05 MST")
}

// clock is the time of a day that was told before.
func (w *receiptWriter) clock(t time.Time) string { return t.In(w.zone).Format("15:04:05") }

func (w *receiptWriter) period(r Receipt) string {
	switch {
	case r.State == "running":
		return fmt.Sprintf("since %s (%s); it goes on", w.moment(r.Started), tookText(r.Written.Sub(r.Started)))
	case r.Ended.IsZero():
		return fmt.Sprintf("from %s; its end was not recorded", w.moment(r.Started))
	}
	return fmt.Sprintf("from %s to %s (%s)", w.moment(r.Started), w.moment(r.Ended), tookText(r.Ended.Sub(r.Started)))
}

func outcomeText(r Receipt) string {
	switch r.State {
	case "running":
		return "none yet: what follows is as of now"
	case "dead":
		return "its launcher was killed before it could clean up"
	case string(OutcomeOK):
		return "all went well"
	}
	text := fmt.Sprintf("%s, exit status %d", r.State, r.Exit)
	if r.Error != "" {
		text += ": " + printed(r.Error)
	}
	return text
}

func (w *receiptWriter) site(r Receipt, s SiteReceipt) {
	w.line("")
	title := "Site " + printed(s.Site)
	w.line(title)
	w.line(strings.Repeat("-", len(title)))
	for i, u := range s.URLs {
		w.row(0, label(i, "Reached by"), "%s", printed(u))
	}
	for i, text := range w.logins(s) {
		w.row(0, label(i, "Logins"), "%s", text)
	}
	w.row(0, "Left", "%s", w.checkText(r, s))
	for _, t := range s.Things {
		if t.Left && s.Check != "running" {
			w.item(labelWidth, "%s", thingText(t))
		}
	}
	for _, t := range s.Things {
		if t.Kept {
			w.item(labelWidth, "kept on purpose, for the next run (keep = true): %s", thingText(t))
		}
	}
	if s.Taken > 0 {
		w.row(0, "Cores", "%s", coresText(s.Usage))
	}
	if s.CoreHours > 0 {
		w.row(0, "", "%.3g core hours by the queueing system's jobs", s.CoreHours)
	}
	w.row(0, "Bytes", "%s sent there, %s received", FormatSize(s.Up), FormatSize(s.Down))
	w.list("Queue jobs", w.things(s, KindJob))
	w.list("Processes", w.things(s, KindHub, KindPilot))
	w.list("Files", append(w.things(s, KindDir, KindFile, KindBinary, KindSocket, KindLocalDir), w.operations(s, "put", "get", "remove")...))
	w.list("Ports", w.ports(s))
	w.list("Commands", w.operations(s, "run", "run inside", "command"))
	w.list("Requests", w.operations(s, "submit", "status", "cancel", "find jobs", "describe", "render submissions", "forward"))
}

func coresText(u Usage) string {
	return fmt.Sprintf("%s core-seconds used by workers, %s held idle, %s taken in all", amount(u.Used), amount(u.Idle), amount(u.Taken))
}

// amount writes a number with as many places as mean something.
func amount(x float64) string {
	if x < 99.95 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// tookText writes how long something took.
func tookText(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return FormatDuration(d)
}

func label(i int, text string) string {
	if i > 0 {
		return ""
	}
	return text
}

func (w *receiptWriter) list(title string, items []string) {
	if len(items) == 0 {
		return
	}
	w.line(title)
	for _, text := range items {
		w.item(2, "%s", text)
	}
}

// logins says how many logins were made, and by what right.
func (w *receiptWriter) logins(s SiteReceipt) (texts []string) {
	behind, by := 0, ""
	for _, op := range s.Operations {
		good := op.Count - op.Failed
		if op.Op != "log in" || good <= 0 {
			continue
		}
		if op.Host != "" {
			behind, by = behind+good, op.Detail
			continue
		}
		text := fmt.Sprintf("%d to %s", good, printed(op.URL))
		if op.Detail != "" {
			text += ", by " + printed(op.Detail)
		}
		texts = append(texts, text+", "+w.when(op))
	}
	if behind > 0 {
		text := fmt.Sprintf("%d to hosts behind it", behind)
		if by != "" {
			text += ", by " + printed(by)
		}
		texts = append(texts, text)
	}
	for _, op := range s.Operations {
		if op.Op == "log in" && op.Failed > 0 {
			texts = append(texts, fmt.Sprintf("%d refused or failed%s: %s", op.Failed, onHost(op.Host), printed(op.Error)))
		}
	}
	return texts
}

func onHost(host string) string {
	if host == "" {
		return ""
	}
	return " on " + printed(host)
}

// when says when an operation took place.
func (w *receiptWriter) when(op OperationCount) string {
	switch {
	case op.First.IsZero():
		return "at a time that is not known"
	case op.Count == 1 || op.Last.Sub(op.First) < time.Second:
		return "at " + w.clock(op.First)
	}
	return fmt.Sprintf("from %s to %s", w.clock(op.First), w.clock(op.Last))
}

// checkText says what is left, and how that is known.
func (w *receiptWriter) checkText(r Receipt, s SiteReceipt) string {
	who, how := "the final clean-up", "looked for the run's directory and processes"
	for _, t := range s.Things {
		if t.How == "gc" {
			who = "zorilla gc"
		}
		if t.Kind == KindJob {
			how = "asked the queue for the run's jobs and looked for its directory and processes"
		}
	}
	switch s.Check {
	case "running":
		return "the run goes on and uses what is listed below"
	case "nothing made":
		return "nothing: nothing was made there"
	case "clean":
		return fmt.Sprintf("nothing. Checked at %s by %s, which %s", w.clock(s.Checked), who, how)
	case "unknown":
		return "not known: part of the ledger cannot be read"
	}
	text := "the following may be left"
	if s.Error != "" {
		text += " (" + printed(s.Error) + ")"
	}
	return text + "; what lives ends with its lease; \"zorilla gc " + r.Run + "\" removes it"
}

// things tells of what was made, of some kinds.
func (w *receiptWriter) things(s SiteReceipt, kinds ...Kind) (texts []string) {
	for _, t := range s.Things {
		if !slices.Contains(kinds, t.Kind) {
			continue
		}
		text := thingText(t) + ", from " + w.clock(t.Made)
		if !t.Sure {
			text += ", if it was made at all"
		}
		if !t.Gone.IsZero() {
			text += ", gone at " + w.clock(t.Gone)
		} else if t.How != "" {
			text += ", gone"
		}
		texts = append(texts, text)
	}
	return texts
}

// maxIDs is how many identifiers of jobs are named in a line.
const maxIDs = 200

func thingText(t ThingReceipt) string {
	ids := strings.Join(t.IDs[:min(len(t.IDs), maxIDs)], ", ")
	if n := len(t.IDs) - maxIDs; n > 0 {
		ids += fmt.Sprintf(" and %d more", n)
	}
	var text string
	switch t.Kind {
	case KindJob:
		text = cmp.Or(ids, "no identifier known") + ", named " + t.Name
	case KindHub:
		text = "a hub, at the lowest priority (" + cmp.Or(ids, "no identifier known") + ")"
	case KindPilot:
		text = "a pilot (" + cmp.Or(ids, "no identifier known") + ")"
	case KindDir:
		text = "the directory " + cmp.Or(t.Path, "of the run in scratch")
	case KindBinary:
		text = "the pilot " + t.Path
	default:
		text = string(t.Kind) + " " + t.Path
	}
	return printed(text) + onHost(t.Host)
}

// ports tells which ports hubs opened.
func (w *receiptWriter) ports(s SiteReceipt) (texts []string) {
	for _, op := range s.Operations {
		if op.Op == "listen" {
			texts = append(texts, fmt.Sprintf("%s of the hub%s, from %s until the hub ended", printed(op.Detail), onHost(op.Host), w.clock(op.First)))
		}
	}
	return texts
}

// operations tells of what was done, of some kinds.
func (w *receiptWriter) operations(s SiteReceipt, ops ...string) (texts []string) {
	for _, op := range s.Operations {
		if !slices.Contains(ops, op.Op) {
			continue
		}
		var b strings.Builder
		if op.Count != 1 {
			fmt.Fprintf(&b, "%d times ", op.Count)
		}
		switch op.Op {
		case "run", "command":
		case "run inside":
			b.WriteString("inside a job: ")
		default:
			b.WriteString(op.Op + " ")
		}
		b.WriteString(cmp.Or(printed(op.Detail), "of jobs"))
		if len(op.Jobs) > 0 && op.Op != "run inside" {
			fmt.Fprintf(&b, " (%s)", printed(strings.Join(op.Jobs, ", ")))
		}
		fmt.Fprintf(&b, "%s, %s", onHost(op.Host), w.when(op))
		if op.Up > 0 || op.Down > 0 {
			fmt.Fprintf(&b, ", %s up, %s down", FormatSize(op.Up), FormatSize(op.Down))
		}
		switch {
		case op.Failed > 0 && op.Failed == op.Count:
			fmt.Fprintf(&b, ", failed: %s", printed(op.Error))
		case op.Failed > 0:
			fmt.Fprintf(&b, ", %d failed, the last with: %s", op.Failed, printed(op.Error))
		}
		if op.Open > 0 {
			b.WriteString(", not ended when this was written down")
		}
		texts = append(texts, b.String())
	}
	return texts
}

func (w *receiptWriter) total(r Receipt) {
	t := r.Total
	w.line("")
	w.line("In all")
	w.line("------")
	w.row(0, "Sites", "%d", len(r.Sites))
	w.row(0, "Logins", "%d made, %d refused or failed", t.Logins, t.Refused)
	w.row(0, "Commands", "%d, and %d %s in queues", t.Commands, t.Jobs, plural(t.Jobs, "job"))
	w.row(0, "Bytes", "%s sent, %s received", FormatSize(t.Up), FormatSize(t.Down))
	w.row(0, "Cores", "%s", coresText(t))
	if r.HeldIdle >= 0.05 {
		w.row(0, "", "of the idle ones %s were held for workers that waited for others", amount(r.HeldIdle))
	}
	left := 0
	for _, s := range r.Sites {
		for _, thing := range s.Things {
			if thing.Left {
				left++
			}
		}
	}
	switch {
	case r.State == "running":
		w.row(0, "Left", "the run goes on")
	case left > 0:
		w.row(0, "Left", "%d %s that may be left", left, plural(left, "thing"))
	case len(r.Unread) > 0:
		w.row(0, "Left", "nothing that is known of; see what is missing above")
	default:
		w.row(0, "Left", "nothing")
	}
}

// printed replaces what a terminal would obey.
func printed(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}
