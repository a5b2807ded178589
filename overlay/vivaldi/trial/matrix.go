package trial

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// MaxNodes is the largest matrix, in nodes.
const MaxNodes = 4096

// Matrix holds the round-trip times between all pairs of nodes; 0 is a pair
// without one. It is symmetric.
type Matrix [][]time.Duration

// Read reads a square matrix of numbers in text, a line for each node, in the
// given unit. The two directions are averaged; a pair without a time, or with
// a time that is no time, in either direction has none.
func Read(r io.Reader, unit time.Duration) (Matrix, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var rows [][]float64
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(rows) == MaxNodes {
			return nil, fmt.Errorf("read matrix: more than %d rows", MaxNodes)
		}
		row := make([]float64, len(fields))
		for i, f := range fields {
			var err error
			if row[i], err = strconv.ParseFloat(f, 64); err != nil {
				return nil, fmt.Errorf("read matrix: row %d: %q is no number", len(rows)+1, f)
			}
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read matrix: row %d: %w", len(rows)+1, err)
	}
	if len(rows) < 2 {
		return nil, errors.New("read matrix: fewer than two rows")
	}
	m := empty(len(rows))
	for i := range rows {
		if len(rows[i]) != len(rows) {
			return nil, fmt.Errorf("read matrix: row %d has %d columns of %d", i+1, len(rows[i]), len(rows))
		}
		for j := range i {
			a, b := rows[i][j], rows[j][i]
			mean := (a + b) / 2 * float64(unit)
			if a > 0 && b > 0 && mean >= 1 && mean < math.MaxInt64 {
				m[i][j] = time.Duration(mean)
				m[j][i] = m[i][j]
			}
		}
	}
	return m, nil
}

func empty(nodes int) Matrix {
	m := make(Matrix, nodes)
	cells := make([]time.Duration, nodes*nodes)
	for i := range m {
		m[i] = cells[i*nodes : (i+1)*nodes : (i+1)*nodes]
	}
	return m
}

// Synthetic makes a world of sites that looks like measured ones: two nodes
// in a site on average, regions far apart, nodes behind slow access links, and
// paths that are longer than they ought to be.
func Synthetic(nodes int, seed uint64) Matrix {
	r := rand.New(rand.NewPCG(seed, 0x6d6174726978))
	type point struct{ x, y, z, access float64 }
	regions := make([]point, 6)
	for i := range regions {
		regions[i] = point{x: r.NormFloat64() * 70, y: r.NormFloat64() * 40, z: r.NormFloat64() * 20}
	}
	sites := make([]point, (nodes+1)/2)
	for i := range sites {
		g := regions[r.IntN(len(regions))]
		sites[i] = point{g.x + r.NormFloat64()*12, g.y + r.NormFloat64()*12, g.z + r.NormFloat64()*6, 0.1 + r.ExpFloat64()*3}
	}
	at := make([]int, nodes)
	for i := range at {
		at[i] = i % len(sites)
	}
	m := empty(nodes)
	detour := make(map[[2]int]float64) // of a pair of sites
	for i := range m {
		for j := range i {
			a, b := sites[at[i]], sites[at[j]]
			ms := 0.1 + 0.2*r.Float64()
			if at[i] != at[j] {
				pair := [2]int{min(at[i], at[j]), max(at[i], at[j])}
				if detour[pair] == 0 {
					detour[pair] = 1 + 0.1*math.Abs(r.NormFloat64())
					if r.IntN(12) == 0 {
						detour[pair] += r.Float64()
					}
				}
				ms += a.access + b.access + detour[pair]*math.Sqrt((a.x-b.x)*(a.x-b.x)+(a.y-b.y)*(a.y-b.y)+(a.z-b.z)*(a.z-b.z))
			}
			m[i][j] = time.Duration(math.Min(ms, wire.MaxRTT) * float64(time.Millisecond))
			m[j][i] = m[i][j]
		}
	}
	return m
}
