// Package harness is the conformance harness of this module's tests: it runs a
// test on every kind of node there is, through one interface for injecting faults.
//
//	func TestSurvivesALostNode(t *testing.T) {
//		harness.Each(t, 3, func(t *testing.T, s harness.Set) {
//			c := open(t, s.URLs())
//			s.Stop(0)
//			…
//		})
//	}
//
// The kinds, called backends, are "embedded" (package embedded, always there)
// and "redis" (redis-server processes, where redis-server is installed). The
// environment variable REDLOCK_TEST_BACKENDS, a list such as "embedded,redis",
// says which must be used; then a missing one is a failure and not a skip.
// REDLOCK_TEST_SERVER is the path of the server to run in place of the
// redis-server of PATH, such as a valkey-server. REDLOCK_TEST_PART=first runs
// the tests of [Each] on real nodes only, if there are any, and
// REDLOCK_TEST_PART=rest only those that the first part left out.
//
// The backends differ in one respect: on "redis" [Set.Commands] also counts the
// commands within scripts, and returns nothing for a paused node.
package harness
