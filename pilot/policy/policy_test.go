package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	toml "github.com/pelletier/go-toml/v2"

	"github.com/zorilla-grid/zorilla/pilot/policy"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]policy.Policy{
		"":                         {},
		"# nothing\n\n  \t\r\n":    {},
		"deny = true":              {Deny: true},
		"deny=false# open":         {},
		"\tdeny = true \t # shut ": {Deny: true},
		"deny = true\r\nmessage = \"ask # root\" # why\r\n": {Deny: true, Message: "ask # root"},
		`message = 'C:\no "escapes"'`:                       {Message: `C:\no "escapes"`},
		`message = "say \"hi\"\\ rémy"`:                     {Message: `say "hi"\ rémy`},
		"message = \"\x1b\"":                                {Deny: false, Message: "-"}, // wrong, see below
		`message = ""`:                                      {},
		`message = "` + strings.Repeat("é", 300) + `"`:      {Message: strings.Repeat("é", 200)},
		`max_cpu = "10%"`:                                   {CPU: 100},
		`max_cpu = '2.5 %'`:                                 {CPU: 25},
		`max_cpu = "1%"`:                                    {CPU: 10},
		`max_cpu = "6400%"`:                                 {CPU: 64000},
		`max_bandwidth = "10MB/s"`:                          {Bandwidth: 10e6},
		`max_bandwidth = "1.5 GiB/s"`:                       {Bandwidth: 3 << 29},
		`max_bandwidth = "65536B/s"`:                        {Bandwidth: 65536},
		"max_pilots = 2":                                    {Pilots: 2},
		"max_pilots = 0 # hubs only":                        {NoPilots: true},
		`max_lifetime = "90m"`:                              {Lifetime: 90 * time.Minute},
		`max_lifetime = "1.5d1h30s"`:                        {Lifetime: 37*time.Hour + 30*time.Second},
		`max_lifetime = "1m"`:                               {Lifetime: time.Minute},
	} {
		got, err := policy.Parse([]byte(text))
		if want.Message == "-" {
			if err == nil {
				t.Errorf("%q is taken for %+v", text, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", text, d)
		}
	}
}

// TestWrong has policies with all kinds of mistakes explained.
func TestWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"deny":                            `line 1: "deny" is not KEY = VALUE`,
		"# fine\n\ndeny = yes":            "line 3: deny is yes; write deny = true",
		`deny = "true"`:                   `write deny = true`,
		"deny = 1":                        "write deny = true",
		"deny =":                          "deny has no value",
		"deny = # true":                   "deny has no value",
		"= true":                          "is not KEY = VALUE",
		"Deny = true":                     "is not KEY = VALUE; known keys are deny, message,",
		"denny = true":                    `unknown key "denny"; known are deny, message, max_cpu`,
		"deny = true\ndeny = false":       "line 2: deny comes twice",
		"[policy]\ndeny = true":           "line 1: a policy has no tables",
		"deny = true max_pilots = 1":      "deny is true max_pilots = 1; write deny = true",
		"max_cpu = 10":                    "max_cpu: 10 is no text; write it in quotes",
		`max_cpu = "10"`:                  `"10" has no %; write a part of one core, such as "10%"`,
		`max_cpu = "%"`:                   "is not a part of a core",
		`max_cpu = "ten%"`:                "is not a part of a core",
		`max_cpu = "0%"`:                  "less than the 1% of a core that a hub takes for itself; to have none at all write",
		`max_cpu = "0.5%"`:                "less than the 1%",
		`max_cpu = "-10%"`:                "is not a part of a core",
		`max_cpu = "NaN%"`:                "is not a part of a core",
		`max_cpu = "1e9%"`:                "is not a part of a core",
		`max_cpu = "99999999%"`:           "more than 1024 cores",
		`max_bandwidth = "10MB"`:          `"10MB" has no /s; write bytes per second, such as "10MB/s"`,
		`max_bandwidth = "10"`:            "has no /s",
		`max_bandwidth = "10Mbit/s"`:      `unknown unit "Mbit/s"`,
		`max_bandwidth = "MB/s"`:          "is not a bandwidth",
		`max_bandwidth = "0MB/s"`:         "less than 64 KiB/s",
		`max_bandwidth = "1B/s"`:          "less than 64 KiB/s",
		`max_bandwidth = "99999999GB/s"`:  "more than 1000 GB/s",
		"max_bandwidth = 10000000":        "is no text",
		"max_pilots = -1":                 "write a whole number from 0 to 65536",
		"max_pilots = 1.5":                "write a whole number",
		"max_pilots = 010":                "write a whole number",
		`max_pilots = "2"`:                "write a whole number",
		"max_pilots = 1000000":            "write a whole number",
		`max_lifetime = "0s"`:             "less than a minute; to allow nothing write deny = true",
		`max_lifetime = "-1h"`:            "is not a time",
		`max_lifetime = "soon"`:           "is not a time",
		`max_lifetime = "3600"`:           "is not a time",
		`max_lifetime = "5000d"`:          "more than ten years",
		`max_lifetime = "999999999999h"`:  "is not a time",
		`message = "no end`:               "message: the text has no end",
		`message = 'no end`:               "message: the text has no end",
		`message = "no end\"`:             "message: the text has no end",
		`message = """three"""`:           `follows the value`,
		`message = "a" "b"`:               `"\"b\"" follows the value`,
		`message = "\x"`:                  "it holds an escape other than",
		`message = "\u0041"`:              "it holds an escape other than",
		`message = "\n"`:                  "write a backslash as",
		"message = nothing":               "nothing is no text; write it in quotes",
		"message = \"a\x00b\"":            "control characters",
		"message = \"a\rb\"":              "control characters",
		"\xff":                            "not UTF-8",
		"\ufeffdeny = true":               "is not KEY = VALUE",
		strings.Repeat("#\n", 10_000):     "more than 16 KiB",
		"deny = true\n" + "\x01":          "line 2: it holds control characters",
		"deny.all = true":                 "is not KEY = VALUE",
		strings.Repeat("x", 100) + " = 1": "unknown key",
	} {
		if p, err := policy.Parse([]byte(text)); err == nil {
			t.Errorf("%q is taken for %+v", text, p)
		} else if !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 300 {
			t.Errorf("%q: the error is %q, want one line with %q", text, err, want)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.toml")
	if p, err := policy.Read(path); err != nil || p != (policy.Policy{}) {
		t.Errorf("without a file: %+v, %v", p, err)
	}
	if p, err := policy.Read(dir); err == nil {
		t.Errorf("a directory is taken for %+v", p)
	}
	if err := os.WriteFile(path, []byte("deny = true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err := policy.Read(path); err != nil || !p.Deny {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := policy.Read(filepath.Join(path, "policy.toml")); err != nil || p != (policy.Policy{}) {
		t.Errorf("below a file: %+v, %v", p, err)
	}
	if err := os.WriteFile(path, []byte("deny = true\nmax_cpu = 5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.Read(path); err == nil || !strings.HasPrefix(err.Error(), path+": line 2: max_cpu: ") {
		t.Errorf("the error is %v", err)
	}
	if _, err := policy.Read("/dev/zero"); err == nil {
		t.Error("a device is read")
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]policy.Policy{
		"":                        {Message: "hello"},
		"nothing":                 {Deny: true, CPU: 100},
		"at most 12.5% of a core": {CPU: 125},
		"at most 200% of a core, 10 MB/s, 2 pilots of a user, each for 1d12h": {CPU: 2000, Bandwidth: 10e6, Pilots: 2, Lifetime: 36 * time.Hour},
		"at most 65.5 kB/s, no pilot":                                         {Bandwidth: policy.MinRate, NoPilots: true},
		"at most 1000 GB/s, 1 pilot of a user":                                {Bandwidth: policy.MaxRate, Pilots: 1},
	} {
		if got := p.Bounds(); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
}

// FuzzParse looks that no file does harm, that a policy which is taken can be
// shown, and that a TOML library, where it takes the file too, finds the same in it.
func FuzzParse(f *testing.F) {
	f.Add([]byte("deny = true\nmessage = \"ask root\"\n"))
	f.Add([]byte("max_cpu = \"10%\" # of one\nmax_bandwidth = '10MB/s'\nmax_pilots = 2\nmax_lifetime = \"1d\"\n"))
	f.Add([]byte(`message = "\u00e9\\\""`))
	f.Add([]byte("[x]\ndeny = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse(data)
		if err != nil {
			if p != (policy.Policy{}) || strings.ContainsAny(err.Error(), "\n\r\x1b") || len(err.Error()) > 400 {
				t.Errorf("%q: %+v, %q", data, p, err)
			}
			return
		}
		if len(p.Message) > policy.MaxMessage || strings.ContainsAny(p.Message+p.Bounds(), "\n\r\x1b\x00") || p.CPU < 0 || p.Bandwidth < 0 || p.Pilots < 0 || p.Lifetime < 0 {
			t.Errorf("%q: %+v", data, p)
		}
		var same struct {
			Deny      bool   `toml:"deny"`
			Message   string `toml:"message"`
			CPU       string `toml:"max_cpu"`
			Bandwidth string `toml:"max_bandwidth"`
			Pilots    *int   `toml:"max_pilots"`
			Lifetime  string `toml:"max_lifetime"`
		}
		if err := toml.Unmarshal(data, &same); err != nil {
			t.Fatalf("%q: taken for %+v, but a library says: %v", data, p, err)
		}
		if same.Deny != p.Deny || (same.CPU != "") != (p.CPU > 0) || (same.Bandwidth != "") != (p.Bandwidth > 0) || (same.Lifetime != "") != (p.Lifetime > 0) ||
			(same.Pilots != nil) != (p.Pilots > 0 || p.NoPilots) || same.Pilots != nil && *same.Pilots != p.Pilots {
			t.Errorf("%q: taken for %+v, a library finds %+v", data, p, same)
		}
	})
}
