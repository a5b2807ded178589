package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

var coordinate = wire.Coordinate{Position: wire.Position{12.25, -80.1, 0, 2000}, Height: 0.3, Error: 0.0625}

func TestCoordinateGolden(t *testing.T) {
	const want = "a30184f94a20fac2a03333f90000f967d002fa3e99999a03f92c00"
	b, err := wire.EncodeCoordinate(coordinate)
	if got := hex.EncodeToString(b); err != nil || got != want {
		t.Errorf("%+v:\n got %s (%v)\nwant %s", coordinate, got, err, want)
	}
	if got, err := wire.DecodeCoordinate(b); err != nil || got != coordinate {
		t.Errorf("%x decodes to %+v, %v; want %+v", b, got, err, coordinate)
	}
}

func TestCoordinateRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, change := range map[string]func(*wire.Coordinate){
		"position NaN":      func(c *wire.Coordinate) { c.Position[2] = nan },
		"position infinite": func(c *wire.Coordinate) { c.Position[0] = -inf },
		"position giant":    func(c *wire.Coordinate) { c.Position[3] = 2001 },
		"height NaN":        func(c *wire.Coordinate) { c.Height = nan },
		"height negative":   func(c *wire.Coordinate) { c.Height = -0.001 },
		"height giant":      func(c *wire.Coordinate) { c.Height = 1e30 },
		"error NaN":         func(c *wire.Coordinate) { c.Error = nan },
		"error tiny":        func(c *wire.Coordinate) { c.Error = 1e-9 },
		"error large":       func(c *wire.Coordinate) { c.Error = 2 },
		"unknown":           func(c *wire.Coordinate) { *c = wire.Coordinate{} },
	} {
		c := coordinate
		change(&c)
		if err := c.Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// A point of another space is no point of this one.
func TestCoordinateDimensions(t *testing.T) {
	for name, text := range map[string]string{
		"three": "a30183f90000f90000f9000002f9000003f93800",
		"five":  "a30185f90000f90000f90000f90000f9000002f9000003f93800",
		"none":  "a202f9000003f93800", // is at the origin: a valid position
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := wire.DecodeCoordinate(b)
		if refused := errors.Is(err, wire.ErrInvalid); refused == (name == "none") {
			t.Errorf("%s dimensions: %+v, %v", name, c, err)
		}
	}
}

func FuzzCoordinate(f *testing.F) {
	kept(f)
	b, err := wire.EncodeCoordinate(coordinate)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xa3, 1, 0x84, 0xf9, 0x7e, 0, 0, 0, 0, 2, 0, 3, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := wire.DecodeCoordinate(b)
		if err != nil {
			if !errors.Is(err, wire.ErrInvalid) {
				t.Fatalf("error %v does not match ErrInvalid", err)
			}
			return
		}
		again, err := wire.EncodeCoordinate(c)
		if err != nil {
			t.Fatal(err)
		}
		back, err := wire.DecodeCoordinate(again)
		if err != nil {
			t.Fatalf("%x decodes, its encoding %x does not: %v", b, again, err)
		}
		if third, _ := wire.EncodeCoordinate(back); !bytes.Equal(third, again) {
			t.Fatalf("encoding of %x is not stable", b)
		}
	})
}
