//go:build unix

package chaos

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Script draws the faults of a row.
type Script func(r *rand.Rand, length time.Duration, t Tempo) []Fault

// Series returns a script of one fault after another, each drawn anew, with a pause before each.
func Series(pause func(Tempo) time.Duration, draw func(r *rand.Rand, t Tempo) Fault) Script {
	return func(r *rand.Rand, length time.Duration, t Tempo) (faults []Fault) {
		after := Settling + UpTo(r, Settling)
		for {
			f := draw(r, t)
			f.after = after
			length -= f.after + f.Lasts
			if len(faults) > 0 && length < 0 {
				return faults
			}
			faults = append(faults, f)
			after = pause(t) + UpTo(r, Settling)
		}
	}
}

// Rolling returns a script with one fault of every node, one after another in random order, however long it takes.
func Rolling(pause func(Tempo) time.Duration, k Kind) Script {
	return func(r *rand.Rand, _ time.Duration, t Tempo) (faults []Fault) {
		after := Settling
		for _, n := range r.Perm(NodeCount) {
			faults = append(faults, Fault{
				Kind: k, after: after, Lasts: Between(r, Settling/4, Settling), Nodes: []int{n}, Client: Everybody,
			})
			after = pause(t)
		}
		return faults
	}
}

// Settling is a time in which the traffic starts up.
const Settling = 200 * time.Millisecond

// ShortPause returns a pause in which connections recover.
func ShortPause(Tempo) time.Duration { return 150 * time.Millisecond }

// Quarantine returns a pause in which every client notices that a node restarted, and lets it vote again.
func Quarantine(t Tempo) time.Duration { return t.MaxTTL*5/4 + 2*t.NodeTimeout + 300*time.Millisecond }

// UpTo draws a time of at most d.
func UpTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

// Between draws a time from least to most.
func Between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + UpTo(r, most-least)
}

// Some draws n nodes.
func Some(r *rand.Rand, n int) []int {
	nodes := r.Perm(NodeCount)[:n]
	slices.Sort(nodes)
	return nodes
}

// Minority draws one or two of five nodes.
func Minority(r *rand.Rand) []int { return Some(r, 1+r.IntN(NodeCount/2)) }

// OneOf draws one of all.
func OneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }
