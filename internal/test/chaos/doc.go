// Package chaos is the machinery of tests that attack locks on real nodes: nodes on which faults can be injected, a
// proxy on every link, client processes that make traffic, faults that are drawn from a seed, a store that the locks
// protect, and the checks of the recorded history.
//
// A driver is a test binary. Its TestMain begins with [RunIfClient], because
// the clients are that binary run again, and its tests run scenarios:
//
//	sc := chaos.Scenario{
//		Name:   "a node freezes",
//		Tempo:  chaos.Tempo{TTL: time.Second, MaxTTL: 2 * time.Second, NodeTimeout: 150 * time.Millisecond},
//		Length: 3 * time.Second,
//		Script: chaos.Series(chaos.ShortPause, func(r *rand.Rand, t chaos.Tempo) chaos.Fault {
//			return chaos.Fault{Kind: chaos.Freeze, Nodes: chaos.Minority(r), Client: chaos.Everybody, Lasts: t.TTL}
//		}),
//	}
//	sc.Run(t, backend, seed, chaos.NewTable([]chaos.Scenario{sc}))
//
// [Processes] is a backend of child processes. The package comment of chaos_test says what is checked and what is not
// promised.
package chaos
