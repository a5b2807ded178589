package pilot_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/pilot"
)

func boot() *pilot.Boot {
	return &pilot.Boot{
		Version:  1,
		Session:  "abcdefgh",
		Site:     "das5",
		Role:     "pilot",
		Pin:      strings.Repeat("ab", 32),
		Token:    "token",
		Secret:   strings.Repeat("cd", 32),
		Hubs:     []string{"unix:/tmp/hub.sock", "tcp:10.0.0.1:4711"},
		HangUp:   true,
		Base:     "/tmp/zorilla-0",
		Socket:   "pilot-0.sock",
		Name:     "node001",
		Slots:    2,
		Cores:    4,
		Memory:   1 << 30,
		Disk:     1 << 31,
		Lease:    pilot.Duration(10 * time.Minute),
		Idle:     pilot.Duration(time.Second),
		Walltime: pilot.Duration(90 * time.Minute),
		Nice:     19,
		Verbose:  true,
	}
}

// queued is the boot record of pilots that a queueing system starts.
func queued() *pilot.Boot {
	b := boot()
	b.Hubs, b.Base, b.HangUp, b.Socket = nil, "", false, ""
	b.HubsFile, b.Scratch, b.Keep, b.GPUs = "/shared/boot.hubs", "/local", true, 4
	return b
}

// hubBoot is the boot record of a hub.
func hubBoot() *pilot.Boot {
	b := boot()
	b.Role, b.Hubs, b.HangUp, b.Publish = "hub", nil, false, []string{"/shared/boot-1.hubs", "/shared/boot-2.hubs"}
	b.HubCPU, b.HubBandwidth = 100, 10e6
	return b
}

func TestBootRoundTrip(t *testing.T) {
	for _, want := range []*pilot.Boot{boot(), queued(), hubBoot()} {
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := pilot.ReadBoot(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("a boot record changed on its way (-sent +read):\n%s", d)
		}
	}
}

// TestBootBytes holds what a hub is told to the letter.
func TestBootBytes(t *testing.T) {
	const want = `{"v":1,"session":"abcdefgh","site":"das5","role":"hub","pin":"PIN","token":"token","secret":"SECRET",` +
		`"publish":["/shared/boot-1.hubs","/shared/boot-2.hubs"],"base":"/tmp/zorilla-0","socket":"pilot-0.sock","name":"node001",` +
		`"slots":2,"cores":4,"memory":1073741824,"disk":2147483648,"lease":"10m0s","idle":"1s","walltime":"1h30m0s","nice":19,"verbose":true,` +
		`"hub_cpu":100,"hub_bandwidth":10000000}`
	b := hubBoot()
	got, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.NewReplacer("PIN", b.Pin, "SECRET", b.Secret).Replace(want), string(got)); d != "" {
		t.Errorf("a boot record (-want +got):\n%s", d)
	}
}

func TestBootRefused(t *testing.T) {
	good, err := boot().Encode()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(good, &fields); err != nil {
		t.Fatal(err)
	}
	// with returns the good record with some fields set, or with nil removed.
	with := func(kv ...any) string {
		m := maps.Clone(fields)
		for i := 0; i < len(kv); i += 2 {
			if kv[i+1] == nil {
				delete(m, kv[i].(string))
			} else {
				m[kv[i].(string)] = kv[i+1]
			}
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct{ record, text string }{
		"empty":                    {"", "EOF"},
		"not json":                 {"boot!", "invalid character"},
		"unknown field":            {with("gift", "horse"), "unknown field"},
		"more behind it":           {string(good) + "{}", "more follows"},
		"too long":                 {string(good) + strings.Repeat(" ", pilot.MaxBoot), "over"},
		"other version":            {with("v", 2), "version 2"},
		"launcher":                 {with("role", "launcher"), "a launcher needs no boot record"},
		"unknown role":             {with("role", "king"), "role"},
		"short pin":                {with("pin", "abcd"), "pin"},
		"odd pin":                  {with("pin", strings.Repeat("xy", 32)), "pin"},
		"short secret":             {with("secret", strings.Repeat("ab", 15)), "secret"},
		"long secret":              {with("secret", strings.Repeat("ab", 65)), "secret"},
		"nobody to call":           {with("hubs", nil, "socket", nil), "needs a hub or a socket"},
		"hub without socket":       {with("role", "hub", "hubs", nil, "socket", nil), "a hub needs a socket"},
		"hub that calls":           {with("role", "hub"), "no hub"},
		"relative base":            {with("base", "tmp"), "absolute"},
		"hub without base":         {with("base", nil, "role", "hub", "hubs", nil), "base"},
		"base and scratch":         {with("scratch", "/tmp"), "both base and scratch"},
		"relative scratch":         {with("base", nil, "scratch", "tmp"), "absolute"},
		"relative hubs file":       {with("hubs_file", "x"), "absolute"},
		"NUL in a path":            {with("hubs_file", "/x\x00y"), "absolute"},
		"pilot that tells":         {with("publish", []string{"/x"}), "nothing to publish"},
		"relative publish":         {with("publish", []string{"x"}, "role", "hub", "hubs", nil), "absolute"},
		"nameless publish":         {with("publish", []string{""}, "role", "hub", "hubs", nil), "without a name"},
		"too many publish":         {with("publish", make([]string, 17), "role", "hub", "hubs", nil), "17 files"},
		"pilot with hub's CPU":     {with("hub_cpu", 100), "bounds of a hub for a pilot"},
		"pilot with hub's rate":    {with("hub_bandwidth", 1000000), "bounds of a hub for a pilot"},
		"hub with next to no CPU":  {with("hub_cpu", 1, "role", "hub", "hubs", nil), "1 thousandths of a core"},
		"hub with absurd CPU":      {with("hub_cpu", 1<<31, "role", "hub", "hubs", nil), "thousandths of a core"},
		"hub with negative CPU":    {with("hub_cpu", -5, "role", "hub", "hubs", nil), "hub_cpu"},
		"hub with next to no rate": {with("hub_bandwidth", 1, "role", "hub", "hubs", nil), "1 bytes per second"},
		"hub with absurd rate":     {with("hub_bandwidth", 1<<60, "role", "hub", "hubs", nil), "bytes per second"},
		"hub that looks":           {with("role", "hub", "hubs", nil, "hubs_file", "/x"), "no hub"},
		"too many GPUs":            {with("gpus", 1000), "resources"},
		"negative GPUs":            {with("gpus", -1), "resources"},
		"socket in other dir":      {with("socket", "../x"), "not a file name"},
		"socket is a dir":          {with("socket", ".."), "not a file name"},
		"no lease":                 {with("lease", nil), "no lease"},
		"negative lease":           {with("lease", "-1s"), "no lease"},
		"lease without unit":       {with("lease", "600"), "unit"},
		"negative wall time":       {with("walltime", "-1s"), "wall time"},
		"too many slots":           {with("slots", 1<<20), "resources"},
		"too many cores":           {with("cores", 1<<33), "resources"},
		"negative memory":          {with("memory", -1), "resources"},
		"long name":                {with("name", strings.Repeat("n", 300)), "host name"},
		"unknown network":          {with("hubs", []string{"udp:1.2.3.4:5"}), "neither unix:PATH nor tcp:HOST:PORT"},
		"no address":               {with("hubs", []string{"unix:"}), "neither unix:PATH nor tcp:HOST:PORT"},
		"too many hubs":            {with("hubs", make([]string, 65)), "65 hubs"},
		"bad session":              {with("session", "../../etc"), "session"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pilot.ReadBoot(strings.NewReader(c.record))
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %+v and error %v, want one that says %q, for %s", got, err, c.text, c.record)
			}
			if err != nil && strings.Contains(err.Error(), boot().Secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func FuzzReadBoot(f *testing.F) {
	for _, b := range []*pilot.Boot{boot(), queued(), hubBoot()} {
		good, err := b.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(good)
	}
	f.Add([]byte(`{"v":1,"role":"hub"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := pilot.ReadBoot(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", data, err)
		}
		c, err := pilot.ReadBoot(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("%q was written and cannot be read: %v", again, err)
		}
		if d := cmp.Diff(b, c); d != "" {
			t.Fatalf("%q changed on its way:\n%s", data, d)
		}
	})
}
