package telemetry

// Metric is one metric, as documented in docs/observability.md.
type Metric struct {
	Name string
	Kind Kind
	Unit string
	Help string
}

// Kind is the instrument behind a metric.
type Kind uint8

const (
	Histogram Kind = iota
	Counter
	Sum     // goes up and down; the sum over all sources is reported
	Gauge   // is not summed over sources
	Largest // a gauge; the largest value of all sources is reported
)

func (k Kind) String() string {
	return [...]string{"histogram", "counter", "sum", "gauge", "gauge"}[k]
}

// The metrics that are recorded at each event.
const (
	lockWait        = "redlock.lock.wait"
	lockRefusals    = "redlock.lock.refusals"
	lockAttempt     = "redlock.lock.attempt"
	lockHold        = "redlock.lock.hold"
	lockLosses      = "redlock.lock.losses"
	lockRenewalLeft = "redlock.lock.renewal.left"
	lockWaiters     = "redlock.lock.waiters"
	nodeLatency     = "redlock.node.latency"
	nodeErrors      = "redlock.node.errors"
	nodeTrips       = "redlock.node.trips"
	nodeRestarts    = "redlock.node.restarts"
)

// The metrics that are read when they are collected; see Watch.
const (
	LockHandOvers       = "redlock.lock.handovers"
	LockReleaseFailures = "redlock.lock.release.failures"
	LockQueue           = "redlock.lock.queue"
	LockHeld            = "redlock.lock.held"
	LockHeldLongest     = "redlock.lock.held.longest"
	jobSuccess          = "redlock.job.success.timestamp"
	electionLeading     = "redlock.election.leading"
	ClusterSpare        = "redlock.cluster.spare"
	ClusterResize       = "redlock.cluster.resize"
	NodeUp              = "redlock.node.up"
	NodeQuarantine      = "redlock.node.quarantine"
	NodeQueue           = "redlock.node.queue"
	NodeOwed            = "redlock.node.owed"
	NodeClockOffset     = "redlock.node.clock.offset"

	CacheHits        = "redlock.cache.hits"
	CacheNearHits    = "redlock.cache.near.hits"
	CacheNegative    = "redlock.cache.negative"
	CacheStale       = "redlock.cache.stale"
	CacheMisses      = "redlock.cache.misses"
	CacheLoads       = "redlock.cache.loads"
	CacheLoadErrors  = "redlock.cache.load.errors"
	CacheLoadTime    = "redlock.cache.load.time"
	CacheRefreshes   = "redlock.cache.refreshes"
	CacheWaits       = "redlock.cache.waits"
	CacheRefused     = "redlock.cache.refused"
	CacheUnleased    = "redlock.cache.unleased"
	CacheUndecodable = "redlock.cache.undecodable"
	CacheUnencodable = "redlock.cache.unencodable"
	CacheTooLarge    = "redlock.cache.too_large"
	CacheStandIns    = "redlock.cache.stand_ins"
	CacheOwed        = "redlock.cache.owed"

	SessionCreated   = "redlock.session.created"
	SessionLoaded    = "redlock.session.loaded"
	SessionCommitted = "redlock.session.committed"
	SessionRenewed   = "redlock.session.renewed"
	SessionDestroyed = "redlock.session.destroyed"
	SessionLogouts   = "redlock.session.logouts"
	SessionGone      = "redlock.session.gone"
	SessionRestored  = "redlock.session.restored"
	SessionFailures  = "redlock.session.failures"
)

// Metrics lists all metrics.
var Metrics = []Metric{
	{lockWait, Histogram, "s", "Time from the request for a lock until it is acquired or given up."},
	{lockRefusals, Counter, "{refusal}", "Requests for a lock that failed."},
	{lockAttempt, Histogram, "s", "Duration of one attempt to acquire a key on the nodes."},
	{lockHold, Histogram, "s", "Time from the acquisition of a lock to its end."},
	{lockLosses, Counter, "{loss}", "Locks that ended before they were released."},
	{lockRenewalLeft, Histogram, "1", "Time left until the deadline when a renewal was decided, as a fraction of the TTL."},
	{lockWaiters, Histogram, "{process}", "Other processes that waited for a key when it was acquired."},
	{LockHandOvers, Counter, "{handover}", "Locks handed over within a process without a round trip."},
	{LockReleaseFailures, Counter, "{release}", "Releases that did not reach a quorum of nodes."},
	{LockQueue, Sum, "{caller}", "Callers in this process that wait for a lock."},
	{LockHeld, Sum, "{lock}", "Keys that this process renews: held, or retained for its next caller."},
	{LockHeldLongest, Largest, "s", "How long this process has held its longest-held lock; 0 if it holds none."},

	{jobSuccess, Largest, "s", "When a job of RunOnce last succeeded in any process, as far as this process knows: seconds since 1970."},
	{electionLeading, Sum, "{election}", "Elections that this process leads; 0 while it campaigns."},

	{ClusterSpare, Gauge, "{node}", "Nodes that are up and vote, above the quorum; below zero nothing can be locked."},
	{ClusterResize, Gauge, "{stage}", "Progress of a change of the set's nodes: 0 no change, 1 proposed, 2 both lists are in effect."},
	{nodeLatency, Histogram, "s", "Time from sending a batch of commands to a node until its answers arrive."},
	{nodeErrors, Counter, "{command}", "Commands that a node refused or did not answer."},
	{NodeUp, Gauge, "{node}", "1 while a node is up, 0 while it is down and probed."},
	{nodeTrips, Counter, "{trip}", "How often a node went down."},
	{NodeQuarantine, Gauge, "s", "Time until the vote of a restarted node counts again."},
	{nodeRestarts, Counter, "{restart}", "Restarts in which a node may have lost locks."},
	{NodeQueue, Sum, "{command}", "Commands that wait for a node's answer."},
	{NodeOwed, Sum, "{command}", "Releases that are pending until a node is reachable again."},
	{NodeClockOffset, Gauge, "s", "A node's clock minus this machine's, at the last connection."},

	{CacheHits, Counter, "{entry}", "Entries served from a node."},
	{CacheNearHits, Counter, "{entry}", "Entries served from this process's memory."},
	{CacheNegative, Counter, "{entry}", "Entries of either kind that were served as ErrNotFound."},
	{CacheStale, Counter, "{entry}", "Entries served after their TTL, because a load failed."},
	{CacheMisses, Counter, "{entry}", "Lookups that found no entry."},
	{CacheLoads, Counter, "{load}", "Loads."},
	{CacheLoadErrors, Counter, "{load}", "Loads that failed, except with ErrNotFound."},
	{CacheLoadTime, Counter, "s", "Total time of all loads."},
	{CacheRefreshes, Counter, "{load}", "Loads in the background, while an entry was served."},
	{CacheWaits, Counter, "{wait}", "Waits for a load of another process or call."},
	{CacheRefused, Counter, "{entry}", "Loaded values that were not stored because their lease had ended."},
	{CacheUnleased, Counter, "{load}", "Loads without a lease, because no node was reached or the wait was too long."},
	{CacheUndecodable, Counter, "{entry}", "Entries that could not be decoded."},
	{CacheUnencodable, Counter, "{entry}", "Loaded values that could not be encoded, and so are not cached."},
	{CacheTooLarge, Counter, "{entry}", "Loaded values above Config.MaxValue."},
	{CacheStandIns, Counter, "{question}", "Requests to the node that stands in for a key's owner while that is down."},
	{CacheOwed, Counter, "{deletion}", "Deletions that were pending because a node was not reached at once."},

	{SessionCreated, Counter, "{session}", "Sessions created."},
	{SessionLoaded, Counter, "{session}", "Sessions loaded."},
	{SessionCommitted, Counter, "{session}", "Commits to sessions."},
	{SessionRenewed, Counter, "{session}", "Sessions that got a new id."},
	{SessionDestroyed, Counter, "{session}", "Sessions destroyed."},
	{SessionLogouts, Counter, "{logout}", "Users logged out."},
	{SessionGone, Counter, "{session}", "Requests for sessions that never existed or have ended."},
	{SessionRestored, Counter, "{session}", "Sessions restored to a quorum of nodes before they were returned."},
	{SessionFailures, Counter, "{operation}", "Operations that failed, except because the session was gone."},
}

// watched are the metrics that are read when they are collected.
func watched(name string) bool {
	switch name {
	case lockWait, lockRefusals, lockAttempt, lockHold, lockLosses, lockRenewalLeft, lockWaiters,
		nodeLatency, nodeErrors, nodeTrips, nodeRestarts:
		return false
	}
	return true
}

var (
	// short is for steps on the nodes, from half a millisecond on.
	short = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}
	// long is for work under a lock, up to a day.
	long = []float64{.001, .01, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600}
	// shares have one bucket above two thirds, the share of a TTL that is left when renewals are in time.
	shares = []float64{0, .05, .1, .2, .3, .4, .5, .6, .7}
	few    = []float64{0, 1, 2, 5, 10, 20, 50, 100}
)

var buckets = map[string][]float64{
	lockWait: short, lockAttempt: short, nodeLatency: short, lockHold: long, lockRenewalLeft: shares, lockWaiters: few,
}
