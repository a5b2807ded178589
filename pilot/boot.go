package pilot

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/policy"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// MaxBoot is the largest boot record, in bytes.
const MaxBoot = 64 << 10

// Limits of what a boot record says.
const (
	maxCores   = 1 << 20 // more than any host has
	maxGPUs    = 256
	maxPublish = 16
)

// Boot is all an agent is told at its start. It holds a secret: it travels on
// a pipe or in a file of mode 0600. The agent removes the file once it has read
// it, unless other agents are to read it too.
type Boot struct {
	Version int            `json:"v"` // 1
	Session wire.SessionID `json:"session"`
	Site    string         `json:"site"`
	Role    string         `json:"role"` // "pilot" or "hub"

	Pin    string `json:"pin"`    // SHA-256 of the CA's public key (SPKI), hexadecimal
	Token  string `json:"token"`  // the admission token's name
	Secret string `json:"secret"` // and its secret, hexadecimal

	// Hubs are the addresses to join through, tried in order:
	// "unix:/path" or "tcp:host:port". A hub has none: it is called on Socket.
	Hubs []string `json:"hubs,omitempty"`

	// HangUp means that the one hub is a program on this same machine: when
	// its socket refuses connections it is gone for good, and so are we.
	HangUp bool `json:"hang_up,omitempty"`

	// HubsFile is a file that names the hubs as they are now, one a line. It is
	// read whenever no hub can be reached. An absolute path, or none.
	HubsFile string `json:"hubs_file,omitempty"`

	// Publish are files that a hub keeps for the HubsFile of pilots: it writes
	// the addresses it listens on into each, mode 0600, whenever they change.
	Publish []string `json:"publish,omitempty"`

	// Keep means that other agents read this boot file as well: it stays. One
	// that is not kept came with the agent's job: what lies in its directory
	// goes with it, this program too.
	Keep bool `json:"keep,omitempty"`

	// Base is the directory that holds session directories, see [BaseName]. A
	// pilot that is told none looks for scratch on the host it finds itself
	// on: in Scratch when there is one, else where hosts have it.
	Base    string `json:"base,omitempty"`
	Scratch string `json:"scratch,omitempty"` // absolute path, without Base

	// Socket is the file name of the agent's own socket in the session
	// directory. Without Base a hyphen and the agent's process id follow it, for
	// agents that read one file may be on one host; the session directory is
	// their working directory.
	Socket string `json:"socket,omitempty"`

	Name   string `json:"name,omitempty"`   // the host's name; empty asks the system
	Slots  int    `json:"slots,omitempty"`  // 0 means one per core
	Cores  int    `json:"cores,omitempty"`  // cores offered; 0 means all usable ones
	Memory int64  `json:"memory,omitempty"` // bytes offered; 0 means nine tenths of the machine's
	Disk   int64  `json:"disk,omitempty"`   // bytes of scratch offered; 0 means what is free
	GPUs   int    `json:"gpus,omitempty"`   // GPUs offered, at most; 0 means all there are for us

	Lease    Duration `json:"lease"`              // life without a sign of life
	Idle     Duration `json:"idle,omitempty"`     // life without a job after the last one
	Walltime Duration `json:"walltime,omitempty"` // the agent leaves before this much time has passed; 0 means never
	Nice     int      `json:"nice,omitempty"`     // scheduling priority to take
	Verbose  bool     `json:"verbose,omitempty"`  // log more

	// What a hub may take of its host, 0 without a bound. It is bulk that is held
	// back, both what the hub passes on and its own.
	HubCPU       uint32 `json:"hub_cpu,omitempty"`       // thousandths of a core
	HubBandwidth uint64 `json:"hub_bandwidth,omitempty"` // bytes per second, both ways together
}

// Duration is a time.Duration written as text, such as "10m0s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// ReadBoot reads and checks a boot record.
func ReadBoot(r io.Reader) (*Boot, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBoot+1))
	if err != nil {
		return nil, fmt.Errorf("read boot record: %w", err)
	}
	if len(data) > MaxBoot {
		return nil, fmt.Errorf("boot record over %d bytes", MaxBoot)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	b := new(Boot)
	if err := dec.Decode(b); err != nil {
		return nil, fmt.Errorf("boot record: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("boot record: more follows it")
	}
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("boot record: %w", err)
	}
	return b, nil
}

// Encode returns the boot record as ReadBoot reads it.
func (b *Boot) Encode() ([]byte, error) {
	b.Version = 1
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("boot record: %w", err)
	}
	return json.Marshal(b)
}

func (b *Boot) validate() error {
	role, err := wire.ParseRole(b.Role)
	if err != nil {
		return err
	}
	pin, err := hex.DecodeString(b.Pin)
	if err != nil || len(pin) != 32 {
		return errors.New("pin is not 64 hexadecimal digits")
	}
	secret, err := hex.DecodeString(b.Secret)
	if err != nil || len(secret) < 16 || len(secret) > 64 {
		return errors.New("secret is not 32 to 128 hexadecimal digits")
	}
	switch {
	case b.Version != 1:
		return fmt.Errorf("version %d", b.Version)
	case role == wire.RoleLauncher:
		return errors.New("a launcher needs no boot record")
	case role == wire.RolePilot && len(b.Hubs) == 0 && b.HubsFile == "" && b.Socket == "":
		return errors.New("a pilot needs a hub or a socket")
	case role == wire.RolePilot && len(b.Publish) > 0:
		return errors.New("a pilot has nothing to publish")
	case role == wire.RoleHub && (b.Socket == "" || len(b.Hubs) > 0 || b.HubsFile != ""):
		return errors.New("a hub needs a socket, on which it is called, and no hub")
	case len(b.Hubs) > 64:
		return fmt.Errorf("%d hubs", len(b.Hubs))
	case len(b.Publish) > maxPublish:
		return fmt.Errorf("%d files to publish", len(b.Publish))
	case role == wire.RolePilot && (b.HubCPU != 0 || b.HubBandwidth != 0):
		return errors.New("bounds of a hub for a pilot")
	case b.HubCPU != 0 && (b.HubCPU < policy.MinCPU || b.HubCPU > policy.MaxCPU):
		return fmt.Errorf("a hub with %d thousandths of a core", b.HubCPU)
	case b.HubBandwidth != 0 && (b.HubBandwidth < policy.MinRate || b.HubBandwidth > policy.MaxRate):
		return fmt.Errorf("a hub with %d bytes per second", b.HubBandwidth)
	case b.Base == "" && role == wire.RoleHub:
		return errors.New("a hub needs a base")
	case b.Base != "" && b.Scratch != "":
		return errors.New("both base and scratch")
	case strings.ContainsAny(b.Socket, "/\x00") || b.Socket == "." || b.Socket == "..":
		return fmt.Errorf("socket %q is not a file name", b.Socket)
	case b.Lease <= 0:
		return errors.New("no lease")
	case b.Walltime < 0:
		return errors.New("negative wall time")
	case b.Slots < 0 || b.Slots > worker.MaxSlots || b.Cores < 0 || b.Cores > maxCores || b.Memory < 0 || b.Disk < 0 || b.GPUs < 0 || b.GPUs > maxGPUs:
		return errors.New("negative or too large resources")
	case len(b.Name) > wire.MaxName:
		return fmt.Errorf("host name of %d bytes", len(b.Name))
	}
	for _, path := range append([]string{b.Base, b.Scratch, b.HubsFile}, b.Publish...) {
		if path != "" && !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return fmt.Errorf("%q is not an absolute path", path)
		}
	}
	if slices.Contains(b.Publish, "") {
		return errors.New("a file to publish without a name")
	}
	for _, h := range b.Hubs {
		if _, _, err := splitAddress(h); err != nil {
			return err
		}
	}
	return b.Session.Validate()
}

// splitAddress parts "unix:/path" and "tcp:host:port" for net.Dial.
func splitAddress(s string) (network, address string, err error) {
	network, address, ok := strings.Cut(s, ":")
	if !ok || address == "" || (network != "unix" && network != "tcp") {
		return "", "", fmt.Errorf("address %q is neither unix:PATH nor tcp:HOST:PORT", s)
	}
	return network, address, nil
}
