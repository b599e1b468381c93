package mutex

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/venta-hq/redlock/cluster"
)

// Config says how keys are named and how long they live. Zero fields mean their defaults.
type Config struct {
	// Prefix comes before every key on the nodes. Default "lock:". It must be the same in everything that is to exclude
	// each other.
	Prefix string

	// TTL is how long a hold lives without being extended, and so how long others wait after its process crashed.
	// Default 10 s; at least 10 ms, at most the Cluster's MaxTTL.
	TTL time.Duration

	// Owner labels holds, so that a person can see whose they are, beside "<host name>:<process id>", which always travels
	// in the value and is the default label. At most 128 bytes of UTF-8 without control characters and without marks that
	// change the direction of text: it is shown on terminals.
	Owner string

	// FenceRetention is how long the fence counter of a key that is not used is kept. It may expire: counters start
	// from the clock. Default 24 h, at least twice the Cluster's MaxTTL.
	FenceRetention time.Duration

	// HandOver is how long a released key is kept for the waiting process that is woken. After one wake that the process did
	// not use it is kept four times as long, after two sixteen times, but at most 500 ms, or HandOver if that is more; at the
	// fourth the process loses its place in the queue. Default 20 ms, at most 1 s.
	HandOver time.Duration
}

const (
	// MaxKeyLen is the longest key, in bytes.
	MaxKeyLen = 64 << 10
	// MaxOwnerLen is the longest owner label, in bytes.
	MaxOwnerLen = 128
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
		errs = append(errs, fieldError("Config.Prefix", "%d bytes; at most %d", len(cfg.Prefix), MaxKeyLen))
	}
	if cfg.FenceRetention < 2*maxTTL {
		errs = append(errs, fieldError("Config.FenceRetention", "%v is too short; at least twice MaxTTL, %v", cfg.FenceRetention, 2*maxTTL))
	}
	if cfg.HandOver < time.Millisecond || cfg.HandOver > time.Second {
		errs = append(errs, fieldError("Config.HandOver", "%v is out of range; from 1ms to 1s", cfg.HandOver))
	}
	return errors.Join(errs...)
}

func fieldError(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", cluster.ErrConfig, field, fmt.Sprintf(format, args...))
}

func checkTTL(field string, ttl, maxTTL time.Duration) error {
	if ttl < minTTL || ttl > maxTTL {
		return fieldError(field, "%v is out of range; from %v to the Cluster's MaxTTL, %v", ttl, minTTL, maxTTL)
	}
	return nil
}

func checkOwner(field, owner string) error {
	switch {
	case len(owner) > MaxOwnerLen:
		return fieldError(field, "%d bytes; at most %d", len(owner), MaxOwnerLen)
	case !utf8.ValidString(owner) || strings.ContainsFunc(owner, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return fieldError(field, "%q holds what can not be seen; use UTF-8 without control characters and without marks that "+
			"change the direction of text", owner)
	}
	return nil
}

// checkKey reports why key cannot be locked: it is empty, too long, or its name
// on the nodes is that of a companion of another key, such as "{a}:fence".
func (r *Redlock) checkKey(key string) error {
	switch {
	case key == "":
		return fieldError("key", "is empty; name what is to be locked, as \"order:42\"")
	case len(key) > MaxKeyLen:
		return fieldError("key", "%d bytes; at most %d; hash what is longer", len(key), MaxKeyLen)
	}
	lock := r.LockKey(key)
	for _, suffix := range companions {
		if tagged(lock) && strings.HasSuffix(lock, suffix) {
			return fieldError("key", "%q with the prefix %q is what the nodes keep beside the lock %q; "+
				"choose a key that has no {tag}, or does not end in %s", key, r.cfg.Prefix, strings.TrimSuffix(lock, suffix), suffix)
		}
	}
	return nil
}

// Redlock takes the steps of the algorithm on one set of nodes: it acquires Holds, which are then extended and
// released one step at a time. It renews nothing by itself and never waits for a key to come free; packages lease and
// lock do. All methods may be called concurrently.
type Redlock struct {
	c     *cluster.Cluster
	cfg   Config
	words words
}

// words are arguments of scripts that are always the same.
type words struct {
	process                     string
	retention, maxTTL, handOver int64 // ms
}

// NewRedlock checks cfg. The error matches cluster.ErrConfig and names every bad field.
func NewRedlock(c *cluster.Cluster, cfg Config) (*Redlock, error) {
	if c == nil {
		return nil, c.Err()
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(c.Config().MaxTTL); err != nil {
		return nil, err
	}
	return &Redlock{c: c, cfg: cfg, words: words{
		process: c.Process(), retention: millis(cfg.FenceRetention), maxTTL: millis(c.Config().MaxTTL), handOver: millis(cfg.HandOver),
	}}, nil
}

// Cluster is the set of nodes.
func (r *Redlock) Cluster() *cluster.Cluster { return r.c }

// Config is the configuration with its defaults filled in.
func (r *Redlock) Config() Config { return r.cfg }

// LockKey is the name of key on the nodes.
func (r *Redlock) LockKey(key string) string { return r.cfg.Prefix + key }

// Leave takes this process out of the queue for key, on the given nodes or, without any, on all, and passes its turn on.
// It does not wait for the answers.
func (r *Redlock) Leave(key string, nodes ...*cluster.Node) { r.LeaveLock(r.LockKey(key), nodes...) }

// LeaveLock is Leave by the lock's name on the nodes.
func (r *Redlock) LeaveLock(lock string, nodes ...*cluster.Node) {
	if len(nodes) == 0 {
		nodes = r.c.Nodes()
	}
	r.leave(lock, nodes, false, &r.words.handOver)
}

// leave takes this process out of the queue for lock on the given nodes, or puts it to the end, and passes its turn on for
// reserve, or to nobody if that is 0.
func (r *Redlock) leave(lock string, nodes []*cluster.Node, toEnd bool, reserve *int64) {
	keys := namesOf(lock)
	cmd := leaveScript.Command(keys[:], &r.words.process, reserve, oneIf(toEnd), "")
	for _, n := range nodes {
		if n.Listening() { // nothing is queued where nothing could be heard
			n.Send(releaseOn(n, cmd), nil)
		}
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
