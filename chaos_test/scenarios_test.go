//go:build unix

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/chaos"
)

var (
	steady = chaos.Tempo{TTL: time.Second, MaxTTL: 2 * time.Second, NodeTimeout: 150 * time.Millisecond}
	// patient is for nodes that are slow to answer, as those are under libfaketime, some of which cannot be reached besides.
	patient = chaos.Tempo{TTL: 1500 * time.Millisecond, MaxTTL: 2 * time.Second, NodeTimeout: 400 * time.Millisecond}
	// brisk is for rows that have to wait for restarted nodes to vote again.
	brisk = chaos.Tempo{TTL: 800 * time.Millisecond, MaxTTL: time.Second, NodeTimeout: 150 * time.Millisecond}
	// waiting is for resizes, which end with an error if a node does not answer for a quarantine. That is longer than a restart.
	waiting = chaos.Tempo{TTL: time.Second, MaxTTL: 1500 * time.Millisecond, NodeTimeout: 300 * time.Millisecond}
)

var scenarios = []chaos.Scenario{
	{
		Name: "a node crashes and forgets", Short: true, Tempo: brisk, Length: 3 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Crash, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Between(r, 20*time.Millisecond, 400*time.Millisecond)}
		}),
	},
	{
		// The lock of the client that is cut off stands on three nodes, one of which forgets it.
		Name: "a node forgets while a client is cut off", Tempo: brisk, Length: 4 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			nodes := r.Perm(chaos.NodeCount)
			forget := chaos.Fault{Kind: chaos.Crash, Nodes: nodes[:1], Client: chaos.Everybody}
			return chaos.Fault{
				Kind: chaos.OneOf(r, chaos.Cut, chaos.Vanish), Nodes: nodes[1:3], Client: r.IntN(chaos.ClientCount), Lasts: chaos.Between(r, t.TTL*3/2, t.TTL*2), Amid: &forget,
			}
		}),
	},
	{
		Name: "nodes crash and remember", Nodes: chaos.NodeKind{Memory: chaos.SyncedAlways}, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Crash, Nodes: chaos.Minority(r), Client: chaos.Everybody, Lasts: chaos.Between(r, 20*time.Millisecond, 400*time.Millisecond)}
		}),
	},
	{
		Name: "a node freezes", Short: true, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Freeze, Nodes: chaos.Minority(r), Client: chaos.Everybody, Lasts: chaos.Between(r, 50*time.Millisecond, t.TTL*3/2)}
		}),
	},
	{
		Name: "a minority is cut off", Short: true, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{
				Kind: chaos.OneOf(r, chaos.Cut, chaos.Vanish, chaos.Deafen, chaos.Unheard, chaos.Mute), Nodes: chaos.Minority(r), Client: chaos.Everybody,
				Lasts: chaos.Between(r, 100*time.Millisecond, t.TTL*3/2),
			}
		}),
	},
	{
		Name: "a client is cut off from a majority", Tempo: brisk, Length: 5 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{
				Kind: chaos.OneOf(r, chaos.Cut, chaos.Vanish, chaos.Deafen, chaos.Unheard, chaos.Mute), Nodes: chaos.Some(r, chaos.NodeCount/2+1+r.IntN(2)), Client: r.IntN(chaos.ClientCount),
				Lasts: chaos.Between(r, t.TTL, t.TTL*2),
			}
		}),
	},
	{
		Name: "links are slow and lose connections", Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{
				Kind: chaos.OneOf(r, chaos.Slow, chaos.SlowTo, chaos.SlowFrom, chaos.Snap), Nodes: chaos.Some(r, chaos.NodeCount), Client: chaos.OneOf(r, chaos.Everybody, r.IntN(chaos.ClientCount)),
				Lasts: chaos.Between(r, 200*time.Millisecond, 800*time.Millisecond),
			}
		}),
	},
	{
		// It has the setting, and nothing else: another disk, or none before.
		Name: "a node that syncs every write comes back empty", Nodes: chaos.NodeKind{Memory: chaos.SyncedAlways}, Tempo: brisk, Length: 3 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Torn, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Between(r, 20*time.Millisecond, 400*time.Millisecond)}
		}),
	},
	{
		Name: "a name moves", Nodes: chaos.NodeKind{Spare: true}, Tempo: brisk, Length: 5 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Moved, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Quarantine(t) + chaos.UpTo(r, t.TTL)}
		}),
	},
	{
		Name: "a node is a replica and a master again", Tempo: brisk, Length: 4 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Follows, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Between(r, 50*time.Millisecond, t.TTL)}
		}),
	},
	{
		// And a client begins right then that has met none of them.
		Name: "all nodes come back empty", Tempo: brisk, Length: 4 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			all := chaos.Fault{Kind: chaos.Crash, Nodes: chaos.Some(r, chaos.NodeCount), Client: chaos.Everybody, Lasts: chaos.Between(r, 20*time.Millisecond, 200*time.Millisecond)}
			return chaos.Fault{Kind: chaos.Kill, Client: r.IntN(chaos.ClientCount), Amid: &all}
		}),
	},
	{
		Name: "servers refuse", Tempo: steady, Length: 4 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{
				Kind: chaos.OneOf(r, chaos.Full, chaos.Barred, chaos.Crowded, chaos.Unlearn), Nodes: chaos.Minority(r), Client: chaos.Everybody,
				Lasts: chaos.Between(r, 100*time.Millisecond, t.TTL),
			}
		}),
	},
	{
		Name: "a wrong password for a while", Tempo: steady, Length: 4 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Locked, Nodes: chaos.Minority(r), Client: chaos.Everybody, Lasts: chaos.Between(r, 100*time.Millisecond, t.TTL*3/2)}
		}),
	},
	{
		// What the node grants does not count, and lifts no counter of the others.
		Name: "a poisoned counter", Tempo: steady, Length: 4 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{
				Kind: chaos.OneOf(r, chaos.Spent, chaos.Ahead), Nodes: chaos.Some(r, 1), Client: chaos.Everybody,
				Lasts: chaos.Between(r, 100*time.Millisecond, t.TTL*3/2),
			}
		}),
	},
	{
		Name: "a node is emptied by hand", Short: true, Unseen: true, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Emptied, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.UpTo(r, chaos.Settling)}
		}),
	},
	{
		// It may have lost and says so: its vote for a lock does not count for a while. What it knows of checkpoints does.
		Name: "a node loses the end of its file", Nodes: chaos.NodeKind{Memory: chaos.SyncedEverySecond}, Fragile: true, Tempo: brisk, Length: 3 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Torn, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Between(r, 20*time.Millisecond, 400*time.Millisecond), Part: r.Float64()}
		}),
	},
	{
		Name: "the disk of a node is full", Nodes: chaos.NodeKind{Memory: chaos.SyncedEverySecond, SmallDisk: true}, Tempo: brisk, Length: 4 * time.Second,
		Script: chaos.Series(chaos.Quarantine, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.OneOf(r, chaos.Filled, chaos.Choked), Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Between(r, 100*time.Millisecond, t.TTL)}
		}),
	},
	{
		Name: "two nodes are emptied by hand", Unseen: true, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Emptied, Nodes: chaos.Some(r, 2), Client: chaos.Everybody, Lasts: chaos.UpTo(r, t.TTL)}
		}),
	},
	{
		// All keys of the node expire at once, or live on for so much longer.
		Name: "the clock of a node jumps", Nodes: chaos.NodeKind{Clocks: slices.Repeat([]string{"+0"}, chaos.NodeCount)}, Unseen: true, Late: jump,
		Tempo: patient, Length: 5 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Jumped, Nodes: chaos.Some(r, 1), Client: chaos.Everybody, Lasts: chaos.Between(r, t.TTL/10, t.TTL*3/2), Shows: chaos.OneOf(r, -jump, jump)}
		}),
	},
	{
		// By less than the margin of 1 % of the TTL, each at a pace of its own, while some cannot be reached.
		Name: "the clocks of nodes drift", Nodes: chaos.NodeKind{Clocks: []string{"+0 x0.995", "+0 x0.998", "+0 x1.001", "+0 x1.003", "+0 x1.005"}},
		Tempo: patient, Length: 5 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.OneOf(r, chaos.Freeze, chaos.Cut, chaos.Mute), Nodes: chaos.Minority(r), Client: chaos.Everybody, Lasts: chaos.Between(r, 100*time.Millisecond, t.TTL*3/2)}
		}),
	},
	{
		Name: "a client is killed", Short: true, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, _ chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Kill, Client: r.IntN(chaos.ClientCount), Lasts: chaos.Between(r, 0, 500*time.Millisecond)}
		}),
	},
	{
		Name: "a client sleeps past its TTL", Short: true, Tempo: steady, Length: 3 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Stop, Client: r.IntN(chaos.ClientCount), Lasts: chaos.Between(r, t.TTL*11/10, t.TTL*2)}
		}),
	},
	{
		// What it held has expired, and the nodes take it for one that listens: it stays first in their queues.
		Name: "a waiter is stopped", Tempo: steady, Length: 4 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			return chaos.Fault{Kind: chaos.Stop, Client: r.IntN(chaos.ClientCount), Lasts: chaos.Between(r, t.TTL*2, t.TTL*3)}
		}),
	},
	{
		Name: "rolling restart", Tempo: brisk,
		Script: chaos.Rolling(chaos.Quarantine, chaos.Crash),
	},
	{
		Name: "a set grows and shrinks", Nodes: resizable, Tempo: waiting, Length: time.Minute, Sizes: []int{1, 3, 5, 3}, Script: whileResized,
	},
	{
		// As redlock resize --replace does it, which leaves a quorum all the time, also of four nodes of which one is away.
		Name: "nodes are replaced", Nodes: resizable, Tempo: waiting, Length: time.Minute, Sizes: []int{5, 4, 5, 4, 5}, Script: whileResized,
	},
	{
		Name: "one thing after another", Nodes: chaos.NodeKind{Memory: chaos.SyncedAlways}, Tempo: steady, Length: 4 * time.Second,
		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
			f := chaos.Fault{
				Kind:  chaos.OneOf(r, chaos.Crash, chaos.Freeze, chaos.Cut, chaos.Vanish, chaos.Deafen, chaos.Unheard, chaos.Mute, chaos.Slow, chaos.Snap, chaos.Unlearn),
				Nodes: chaos.Minority(r), Client: chaos.Everybody,
			}
			if r.IntN(4) == 0 {
				f = chaos.Fault{Kind: chaos.OneOf(r, chaos.Kill, chaos.Stop), Client: r.IntN(chaos.ClientCount)}
			}
			f.Lasts = chaos.Between(r, 50*time.Millisecond, t.TTL*3/2)
			return f
		}),
	},
}

// resizable are nodes of which one more is there than a set ever has.
var resizable = chaos.NodeKind{Memory: chaos.SyncedAlways, Spare: true}

// whileResized names all nodes in some order: which of them are the set is not known yet.
var whileResized = chaos.Series(func(chaos.Tempo) time.Duration { return time.Second / 2 }, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
	f := chaos.Fault{Nodes: r.Perm(chaos.NodeCount + 1), Client: chaos.Everybody, Lasts: chaos.Between(r, 20*time.Millisecond, t.TTL*3/2)}
	switch r.IntN(4) {
	case 0:
		f.Kind, f.Nodes, f.Client = chaos.OneOf(r, chaos.Kill, chaos.Stop), nil, r.IntN(chaos.ClientCount)
	case 1:
		f.Kind, f.Client = chaos.OneOf(r, chaos.Cut, chaos.Vanish, chaos.Deafen, chaos.Unheard, chaos.Mute), r.IntN(chaos.ClientCount)
	default:
		f.Kind = chaos.OneOf(r, chaos.Crash, chaos.Freeze, chaos.Cut, chaos.Vanish, chaos.Mute, chaos.Snap)
	}
	return f
})

// jump is how far the clock of a node jumps.
const jump = 10 * time.Second

func TestScenarios_KeepEveryPromise(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	b := mustBackend(t)
	r := thisRound(t)
	rows := r.rows(scenarios)
	table := chaos.NewTable(rows)
	seed := firstSeed(t)
	for start := time.Now(); ; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for _, sc := range rows {
				t.Run(strings.ReplaceAll(sc.Name, " ", "_"), func(t *testing.T) {
					t.Parallel()
					sc.Run(t, b, seed, table)
				})
			}
		})
		if time.Since(start) >= r.lasts { // also after a failure: a soak shows how often
			break
		}
	}
	t.Log("\n" + table.String())
}

// firstSeed is the seed that the environment gives, or a random one.
func firstSeed(t *testing.T) uint64 {
	text := os.Getenv("REDLOCK_CHAOS_SEED")
	if text == "" {
		return rand.Uint64N(1 << 32)
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("REDLOCK_CHAOS_SEED: %v", err)
	}
	return seed
}
