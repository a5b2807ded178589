package gatmem

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
)

// tools returns the programs of /bin, those that the conformance suite needs.
// Package gattest describes them.
func tools() map[string]Program {
	sleep := func(ctx context.Context, p *Proc) int {
		<-ctx.Done()
		return killed
	}
	family := func(children int) Program {
		return func(ctx context.Context, p *Proc) int {
			for range children {
				p.Spawn("/bin/sleep")
			}
			return sleep(ctx, p)
		}
	}
	return map[string]Program{
		"args": func(_ context.Context, p *Proc) int {
			for _, a := range p.Args[1:] {
				fmt.Fprintf(p.Stdout, "%s\x00", a)
			}
			return 0
		},
		"env": func(_ context.Context, p *Proc) int {
			value, ok := p.getenv(p.Args[1])
			if !ok {
				value = "unset"
			}
			io.WriteString(p.Stdout, value)
			return 0
		},
		"pwd": func(_ context.Context, p *Proc) int {
			fmt.Fprintln(p.Stdout, p.Dir)
			return 0
		},
		"cat": func(_ context.Context, p *Proc) int {
			if _, err := io.Copy(p.Stdout, p.Stdin); err != nil {
				return 1
			}
			return 0
		},
		"split": func(_ context.Context, p *Proc) int {
			io.WriteString(p.Stdout, p.Args[1])
			io.WriteString(p.Stderr, p.Args[2])
			return 0
		},
		"exit": func(_ context.Context, p *Proc) int {
			n, err := strconv.Atoi(p.Args[1])
			if err != nil {
				return 2
			}
			return n
		},
		"signal": func(_ context.Context, p *Proc) int {
			n, err := strconv.Atoi(p.Args[1])
			if err != nil {
				return 2
			}
			return 128 + n
		},
		"sleep":  sleep,
		"tree":   family(1),
		"escape": family(2),
		"save":   save,
		"hold": func(ctx context.Context, p *Proc) int {
			save(ctx, p)
			return sleep(ctx, p)
		},
		"mode": func(_ context.Context, p *Proc) int {
			mode, ok := p.machine.mode(p.Args[1])
			if !ok {
				return 2
			}
			fmt.Fprintln(p.Stdout, mode)
			return 0
		},
		"mkdir": func(_ context.Context, p *Proc) int {
			if err := p.machine.Mkdir(p.Args[1]); err != nil {
				fmt.Fprintln(p.Stderr, err)
				return 1
			}
			return 0
		},
		"list": func(_ context.Context, p *Proc) int {
			for _, name := range p.machine.List(p.Args[1]) {
				fmt.Fprintln(p.Stdout, name)
			}
			return 0
		},
	}
}

func save(_ context.Context, p *Proc) int {
	data, err := io.ReadAll(p.Stdin)
	if err == nil {
		err = p.machine.WriteFile(p.Args[1], data, fs.FileMode(0o644))
	}
	if err != nil {
		fmt.Fprintln(p.Stderr, err)
		return 1
	}
	return 0
}
