package quorumlock

import (
	"cmp"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Config is the configuration of package mutex, where its fields are explained.
// The two convert into each other.
type Config struct {
	Prefix         string
	TTL            time.Duration
	Owner          string
	FenceRetention time.Duration
	HandOver       time.Duration
}

const (
	// MaxKeyLen is the longest key, in bytes.
	MaxKeyLen = 64 << 10
	// maxOwnerLen is the longest owner label, in bytes.
	maxOwnerLen = 128
	// MaxTokenBlock is how many tokens one acquisition can own. A counter that a node has lost starts again from the clock, in
	// microseconds, so a key should not go through more than one in a microsecond for long: own many where they are used.
	MaxTokenBlock = 65536
	// minTTL is far above the precision of a node's clock and of Margin.
	minTTL = 10 * time.Millisecond

	defaultRetention = 24 * time.Hour
	defaultHandOver  = 20 * time.Millisecond
)

func (cfg Config) withDefaults() Config {
	cfg.Prefix = cmp.Or(cfg.Prefix, "lock:")
	cfg.TTL = cmp.Or(cfg.TTL, 10*time.Second)
	cfg.FenceRetention = cmp.Or(cfg.FenceRetention, defaultRetention)
	cfg.HandOver = cmp.Or(cfg.HandOver, defaultHandOver)
	cfg.Owner = cmp.Or(cfg.Owner, whereabouts())
	return cfg
}

func (cfg Config) validate(maxTTL time.Duration) error {
	errs := []error{checkTTL("Config.TTL", cfg.TTL, maxTTL), checkOwner("Config.Owner", cfg.Owner)}
	if len(cfg.Prefix) > MaxKeyLen {
		errs = append(errs, configerr.Field("Config.Prefix", "%d bytes; at most %d", len(cfg.Prefix), MaxKeyLen))
	}
	if cfg.FenceRetention < 2*maxTTL {
		errs = append(errs, configerr.Field("Config.FenceRetention", "%v is too short; at least twice MaxTTL, %v", cfg.FenceRetention, 2*maxTTL))
	}
	if cfg.HandOver < time.Millisecond || cfg.HandOver > time.Second {
		errs = append(errs, configerr.Field("Config.HandOver", "%v is out of range; from 1ms to 1s", cfg.HandOver))
	}
	return errors.Join(errs...)
}

func checkTTL(field string, ttl, maxTTL time.Duration) error {
	if ttl < minTTL || ttl > maxTTL {
		return configerr.Field(field, "%v is out of range; from %v to the Cluster's MaxTTL, %v", ttl, minTTL, maxTTL)
	}
	return nil
}

func checkOwner(field, owner string) error {
	switch {
	case len(owner) > maxOwnerLen:
		return configerr.Field(field, "%d bytes; at most %d", len(owner), maxOwnerLen)
	case !utf8.ValidString(owner) || strings.ContainsFunc(owner, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return configerr.Field(field, "%q contains invisible characters; use UTF-8 without control characters and without marks that "+
			"change the direction of text", owner)
	}
	return nil
}

// checkKey reports why key cannot be locked: it is empty, too long, or its name
// on the nodes is that of a companion of another key, such as "{a}:fence".
func (r *Redlock) checkKey(key string) error {
	switch {
	case key == "":
		return configerr.Field("key", "is empty; name what to lock, such as \"order:42\"")
	case len(key) > MaxKeyLen:
		return configerr.Field("key", "%d bytes; at most %d; use a hash instead", len(key), MaxKeyLen)
	}
	if !strings.Contains(r.cfg.Prefix, "{") && !strings.Contains(key, "{") {
		return nil
	}
	lock := r.LockKey(key)
	for _, suffix := range companions {
		if tagged(lock) && strings.HasSuffix(lock, suffix) {
			return configerr.Field("key", "%q with the prefix %q is the name of a companion of the lock %q; "+
				"choose a key that has no {tag}, or does not end in %s", key, r.cfg.Prefix, strings.TrimSuffix(lock, suffix), suffix)
		}
	}
	return nil
}

// Redlock takes the steps of the algorithm on one set of nodes: it acquires Holds, which are then extended and
// released one step at a time. It renews nothing by itself and never waits for a key to come free; package
// keepalive does. All methods may be called concurrently.
type Redlock struct {
	c         *nodeset.Set
	cfg       Config
	words     words
	sightings *sightings
	delay     time.Duration
}

// words are arguments of scripts that are always the same.
type words struct {
	process                     string
	retention, maxTTL, handOver int64 // ms
}

// NewRedlock checks cfg. The error matches cluster.ErrConfig and names every bad field.
func NewRedlock(c *nodeset.Set, cfg Config) (*Redlock, error) {
	if c == nil {
		return nil, c.Err()
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(c.Config().MaxTTL); err != nil {
		return nil, err
	}
	return &Redlock{c: c, cfg: cfg, sightings: newSightings(cfg.FenceRetention), words: words{
		process: c.Process(), retention: millis(keptLonger(cfg.FenceRetention)), maxTTL: millis(c.Config().MaxTTL), handOver: millis(cfg.HandOver),
	}}, nil
}

// Config is the configuration with its defaults filled in.
func (r *Redlock) Config() Config { return r.cfg }

// LockKey is the name of key on the nodes.
func (r *Redlock) LockKey(key string) string { return r.cfg.Prefix + key }

// LeaveLock takes this process out of the nodes' queues for a lock, by its name on
// the nodes, and passes its turn on. It does not wait for the answers.
func (r *Redlock) LeaveLock(lock string) {
	r.leave(lock, r.c.Nodes(), false, false, &r.words.handOver)
}

// leave takes this process out of these nodes' queues for lock, or puts it to the
// end, and passes its turn on for reserve, or to nobody if that is 0. Its readers
// have a place of their own.
func (r *Redlock) leave(lock string, nodes []*nodeset.Node, shared, toEnd bool, reserve *int64) {
	keys, place := namesOf(lock), &r.words.process
	if shared {
		reader := r.words.process + readerPlace
		place = &reader
	}
	cmd := leaveScript.Command(keys[:], place, reserve, oneIf(toEnd), "")
	for _, n := range nodes {
		sendLeave(n, cmd)
	}
}

// PassOn is LeaveLock on one node, for a process in which nobody waits any more.
func PassOn(c *nodeset.Set, n *nodeset.Node, lock string) {
	keys := namesOf(lock)
	for _, place := range []string{c.Process(), c.Process() + readerPlace} {
		sendLeave(n, leaveScript.Command(keys[:], place, millis(defaultHandOver), "", ""))
	}
	PassOnSlot(c, n, lock)
}

// PassOnSlot is PassOn for a process in which nobody waits for a slot any more.
func PassOnSlot(c *nodeset.Set, n *nodeset.Node, lock string) {
	sendLeave(n, limitLeaveScript.Command(limitNames(lock), c.Process()+limitWaiter, millis(defaultHandOver), "", ""))
}

// LeaveWriting has the process leave the place of a writer on one node, in which none
// waits any more: its leave was lost.
func LeaveWriting(c *nodeset.Set, n *nodeset.Node, lock string) {
	keys := namesOf(lock)
	sendLeave(n, leaveScript.Command(keys[:], c.Process(), millis(defaultHandOver), "", ""))
}

func sendLeave(n *nodeset.Node, cmd nodeset.Command) {
	if n.Listening() { // nothing is queued where no message could arrive
		n.Send(releaseOn(n, cmd), nil)
	}
}

// millis is d in whole milliseconds, rounded up: a key never expires before its time.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

func oneIf(on bool) string {
	if on {
		return "1"
	}
	return ""
}
