package launcher

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"
)

// maxEvent is the largest event that is read, in bytes of its JSON form.
const maxEvent = 4 << 20

// eventHead is what every event begins with in its JSON form.
type eventHead struct {
	V    int       `json:"v"`
	Time time.Time `json:"time"`
	Run  string    `json:"run"`
	Type string    `json:"type"`
}

// outputJSON is the JSON form of [OutputWritten].
type outputJSON struct {
	Rank   int     `json:"rank"`
	Stream string  `json:"stream"`
	Data   *string `json:"data,omitempty"`   // when it is UTF-8
	Base64 []byte  `json:"base64,omitempty"` // when it is not
}

// EncodeEvent returns the JSON form of an event: one line, with its end.
// {"v":1, "time":..., "run":..., "type":...} comes first, the event's own
// fields follow. Output is "data" when it is UTF-8, else "base64".
func EncodeEvent(e Event) ([]byte, error) {
	head, err := json.Marshal(eventHead{1, e.Time.UTC(), e.Run, e.Data.EventType()})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	var data any = e.Data
	if o, ok := e.Data.(OutputWritten); ok {
		j := outputJSON{Rank: o.Rank, Stream: o.Stream, Base64: o.Data}
		if utf8.Valid(o.Data) {
			text := string(o.Data)
			j.Data, j.Base64 = &text, nil
		}
		data = j
	}
	// Encoder, not Marshal: programs print <, > and & often.
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	line := head[:len(head)-1]
	if rest := body.Bytes(); len(rest) > len("{}\n") {
		line = append(append(line, ','), rest[1:]...)
	} else {
		line = append(line, "}\n"...)
	}
	return line, nil
}

// errUnknownEvent is returned by DecodeEvent for a type of a later version.
var errUnknownEvent = errors.New("event of an unknown type")

// DecodeEvent is the inverse of [EncodeEvent].
func DecodeEvent(line []byte) (Event, error) {
	var h eventHead
	if err := json.Unmarshal(line, &h); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	if h.V != 1 {
		return Event{}, fmt.Errorf("decode event: version %d is not known to this program", h.V)
	}
	e := Event{Time: h.Time, Run: h.Run}
	var err error
	switch h.Type {
	case "run":
		e.Data, err = decodeAs[RunStarted](line)
	case "site":
		e.Data, err = decodeAs[SiteChanged](line)
	case "pilot":
		e.Data, err = decodeAs[PilotChanged](line)
	case "worker":
		e.Data, err = decodeAs[WorkerChanged](line)
	case "transfer":
		e.Data, err = decodeAs[Transferred](line)
	case "warning":
		e.Data, err = decodeAs[Warned](line)
	case "end":
		e.Data, err = decodeAs[RunEnded](line)
	case "output":
		var o outputJSON
		if err = json.Unmarshal(line, &o); err == nil {
			data := o.Base64
			if o.Data != nil {
				data = []byte(*o.Data)
			}
			e.Data = OutputWritten{Rank: o.Rank, Stream: o.Stream, Data: data}
		}
	default:
		return Event{}, fmt.Errorf("%w: %q", errUnknownEvent, h.Type)
	}
	if err != nil {
		return Event{}, fmt.Errorf("decode event of type %q: %w", h.Type, err)
	}
	return e, nil
}

func decodeAs[T EventData](line []byte) (EventData, error) {
	var d T
	err := json.Unmarshal(line, &d)
	return d, err
}

// readEvents calls f with the events of a file, in order. A last line that was
// cut off, and types that a later version may add, are passed over.
func readEvents(path string, f func(Event)) error {
	file, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("read events: %w", err)
	}
	defer file.Close()
	return scanEvents(file, f)
}

func scanEvents(r io.Reader, f func(Event)) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(br, maxEvent)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if e, err := DecodeEvent(line); err == nil {
			f(e)
		}
	}
}

// readLine returns the next whole line without its end; a line that is cut off
// by the end of the input is not returned. Longer lines than limit are an error.
func readLine(br *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return nil, fmt.Errorf("line over %d bytes", limit)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return nil, err
		}
		return line[:len(line)-1], nil
	}
}
