package launcher

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Report is the content of report.json: how a run went.
type Report struct {
	V       int       `json:"v"` // 1
	Run     string    `json:"run"`
	App     string    `json:"app"`
	Command []string  `json:"command,omitempty"`
	Version string    `json:"version,omitempty"` // of the program that ran it
	Started time.Time `json:"started,omitzero"`

	Outcome Outcome `json:"outcome"`
	Exit    int     `json:"exit"`
	Error   string  `json:"error,omitempty"`
	Wall    float64 `json:"wall_s"` // from the start of the run to its end

	// Efficiency is the part of the workers' time, from 0 to 1, that was spent
	// running the attempts that counted; see [Tally.Report].
	Efficiency float64 `json:"efficiency"`

	// Idle is for how many core-seconds slots were held for workers that had to wait for others.
	Idle float64 `json:"held_idle_core_s"`

	Workers   []WorkerReport `json:"workers"`
	Sites     []SiteReport   `json:"sites"`
	Leftovers []Leftover     `json:"leftovers"`
}

// WorkerReport is how one rank went: its newest attempt.
type WorkerReport struct {
	Rank    int       `json:"rank"`
	Attempt int       `json:"attempt"`
	Site    string    `json:"site,omitempty"`
	Node    string    `json:"node,omitempty"`
	Host    string    `json:"host,omitempty"`
	State   string    `json:"state"` // see [WorkerChanged]
	Exit    *int      `json:"exit,omitempty"`
	Signal  string    `json:"signal,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Started time.Time `json:"started,omitzero"` // of the program
	Ended   time.Time `json:"ended,omitzero"`
	Wall    float64   `json:"wall_s"` // running time of the program
}

// SiteReport is how one site went.
type SiteReport struct {
	Site     string `json:"site"`
	State    string `json:"state"`
	Platform string `json:"platform,omitempty"`
	Pilots   int    `json:"pilots"`  // submitted
	Workers  int    `json:"workers"` // that ended there and counted
	Sent     int64  `json:"sent"`    // bytes to the site
	Got      int64  `json:"got"`     // bytes from the site

	// CoreHours is what the pilots of a site with a queueing system took, cores times hours.
	CoreHours float64 `json:"core_hours,omitempty"`

	Error string `json:"error,omitempty"`
}

// Leftover is a thing that may have stayed behind.
type Leftover struct {
	Site   string `json:"site"`
	Host   string `json:"host,omitempty"`
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`             // for people
	Reason string `json:"reason,omitempty"` // why it is not gone
}

// LeftoversOf lists the things of a ledger that should be gone and may not be.
// Reason says why those of a site could not be removed; it may be nil.
func LeftoversOf(made []Made, reason func(Made) string) []Leftover {
	out := []Leftover{}
	for _, m := range made {
		if !m.Leftover() {
			continue
		}
		l := Leftover{Site: m.Site, Host: m.Host, Kind: m.Kind, Name: m.Name()}
		if reason != nil {
			l.Reason = reason(m)
		}
		out = append(out, l)
	}
	return out
}

// ReadReport reads a report.json.
func ReadReport(path string) (Report, error) {
	var r Report
	data, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("read report: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read report %s: %w", path, err)
	}
	return r, nil
}
