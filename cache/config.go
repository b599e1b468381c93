package cache

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// Config configures the keys, lifetimes and loading of entries. Zero fields
// mean their defaults. All processes that share a Prefix must use the same
// Config.
type Config[V any] struct {
	// Prefix comes before every key on the nodes. Default "cache:". Caches of
	// different types or codecs need different ones; [New] checks that on one
	// Cluster. A "{" in it must begin a hash tag, as in "{users}:", which
	// applies to all keys.
	Prefix string

	// TTL is how long an entry may be served. It is varied at random by up to
	// 10 %, so that entries stored together do not expire together. The option
	// [TTL] must not exceed it. Default 5 minutes.
	TTL time.Duration

	// SoftTTL is the age from which Fetch loads an entry again, by one caller
	// in the fleet and in the background, while all callers are served the old
	// one. Default 0: never. At most TTL.
	SoftTTL time.Duration

	// StaleFor is how long after its TTL an entry may still be served if
	// loading a new one failed. Default 0: not at all. This needs the node that
	// stores the entry: a stand-in has only entries stored on it since that
	// node went down, each for 10 s.
	StaleFor time.Duration

	// NegativeTTL is how long an [ErrNotFound] of a load is kept. Default 10 s;
	// at most TTL.
	NegativeTTL time.Duration

	// LoadTimeout bounds a load: its context ends then, and its callers return
	// shortly after. Default 10 s.
	LoadTimeout time.Duration

	// LeaseTTL is how long callers wait for the load of a process that crashed.
	// A running process renews its lease, for at most LoadTimeout. Default 3 s;
	// at most LoadTimeout.
	LeaseTTL time.Duration

	// MaxValue is the size of the largest encoded value that is stored, in
	// bytes. Default 4 MiB; at most 64 MiB. A node must be able to receive or
	// return such a value within NodeTimeout.
	MaxValue int

	// Near keeps entries in this process's memory as well. Default nil: none
	// are kept.
	Near *Near

	// Codec encodes values. By default, strings and byte slices are stored as
	// they are, also those of named types without marshaling methods, and
	// everything else by [JSON].
	Codec Codec[V]
}

const (
	maxKey      = 4096             // bytes
	standInTTL  = 10 * time.Second // how long an entry lives on the node that stands in for its owner
	jitterShare = 0.1
)

func (cfg Config[V]) withDefaults() Config[V] {
	cfg.Prefix = cmp.Or(cfg.Prefix, "cache:")
	cfg.TTL = cmp.Or(cfg.TTL, 5*time.Minute)
	cfg.NegativeTTL = cmp.Or(cfg.NegativeTTL, min(10*time.Second, cfg.TTL))
	cfg.LoadTimeout = cmp.Or(cfg.LoadTimeout, 10*time.Second)
	cfg.LeaseTTL = cmp.Or(cfg.LeaseTTL, min(3*time.Second, cfg.LoadTimeout))
	cfg.MaxValue = cmp.Or(cfg.MaxValue, 4<<20)
	if cfg.Near != nil {
		cfg.Near = &Near{
			Size: cmp.Or(cfg.Near.Size, 10_000), Bytes: cmp.Or(cfg.Near.Bytes, 64<<20), TTL: cmp.Or(cfg.Near.TTL, 10*time.Second),
		}
	}
	if cfg.Codec == nil {
		cfg.Codec = defaultCodec[V]()
	}
	return cfg
}

// validate reports every bad field of a Config whose defaults have been filled
// in.
func (cfg Config[V]) validate() error {
	var errs []error
	within := func(field string, d, most time.Duration, why string) {
		if d < time.Millisecond || d > most {
			errs = append(errs, configerr.Field(field, "%v is out of range; from 1ms to %v%s", d, most, why))
		}
	}
	const year = 365 * 24 * time.Hour
	within("Config.TTL", cfg.TTL, year, "")
	within("Config.NegativeTTL", cfg.NegativeTTL, cfg.TTL, ", TTL")
	within("Config.LoadTimeout", cfg.LoadTimeout, time.Hour, "")
	within("Config.LeaseTTL", cfg.LeaseTTL, cfg.LoadTimeout, ", LoadTimeout")
	if cfg.SoftTTL != 0 {
		within("Config.SoftTTL", cfg.SoftTTL, cfg.TTL, ", TTL; 0 means none")
	}
	if cfg.StaleFor != 0 {
		within("Config.StaleFor", cfg.StaleFor, year, "; 0 means not at all")
	}
	if _, tag, ok := strings.Cut(cfg.Prefix, "{"); ok && strings.Index(tag, "}") < 1 {
		errs = append(errs, configerr.Field("Config.Prefix", "%q has a \"{\" that begins no hash tag; close it, as \"{users}:\", or leave it out", cfg.Prefix))
	}
	if cfg.MaxValue < 1 || cfg.MaxValue > 64<<20 {
		errs = append(errs, configerr.Field("Config.MaxValue", "%d is out of range; from 1 to %d bytes", cfg.MaxValue, 64<<20))
	}
	if cfg.Near != nil {
		within("Config.Near.TTL", cfg.Near.TTL, 30*time.Second, "")
		if cfg.Near.Size < 1 {
			errs = append(errs, configerr.Field("Config.Near.Size", "%d is out of range; at least 1", cfg.Near.Size))
		}
		if cfg.Near.Bytes < 1 {
			errs = append(errs, configerr.Field("Config.Near.Bytes", "%d is out of range; at least 1", cfg.Near.Bytes))
		}
	}
	return errors.Join(errs...)
}

// longestLease returns the longest time from the grant of a lease to its end.
func (cfg Config[V]) longestLease() time.Duration { return cfg.LoadTimeout + grace + cfg.LeaseTTL }

// lifetime returns the longest time that an entry is kept.
func (cfg Config[V]) lifetime() time.Duration {
	return cfg.TTL + time.Duration(float64(cfg.TTL)*jitterShare) + cfg.StaleFor
}

// request is the combined options of one call.
type request struct {
	ttl, soft time.Duration
	softGiven bool
	tags      []string
}

// Option configures one call.
type Option interface{ apply(*request) }

type option func(*request)

func (o option) apply(r *request) { o(r) }

// TTL replaces [Config.TTL], which must not be shorter, for this entry; it is
// varied by up to 10 % too. [Config.SoftTTL] is scaled with it.
func TTL(d time.Duration) Option { return option(func(r *request) { r.ttl = d }) }

// SoftTTL replaces [Config.SoftTTL] for this entry.
func SoftTTL(d time.Duration) Option {
	return option(func(r *request) { r.soft, r.softGiven = d, true })
}

// Tags names groups to which the entry belongs: [Cache.DeleteTag] with any of
// them deletes it.
func Tags(tags ...string) Option {
	return option(func(r *request) { r.tags = append(r.tags, tags...) })
}

func (cfg Config[V]) request(opts []Option) (request, error) {
	if len(opts) == 0 { // avoids an allocation of r
		return request{ttl: cfg.TTL, soft: cfg.SoftTTL}, nil
	}
	r := request{ttl: cfg.TTL, soft: cfg.SoftTTL}
	for _, o := range opts {
		o.apply(&r)
	}
	if !r.softGiven {
		r.soft = time.Duration(float64(r.soft) * (float64(r.ttl) / float64(cfg.TTL)))
	}
	var errs []error
	if r.ttl < time.Millisecond || r.ttl > cfg.TTL {
		errs = append(errs, configerr.Field("TTL", "%v is out of range; from 1ms to Config.TTL, %v", r.ttl, cfg.TTL))
	}
	if r.softGiven && (r.soft < time.Millisecond || r.soft > r.ttl) {
		errs = append(errs, configerr.Field("SoftTTL", "%v is out of range; from 1ms to the TTL, %v", r.soft, r.ttl))
	}
	for _, tag := range r.tags {
		errs = append(errs, checkName("Tags", tag))
	}
	return r, errors.Join(errs...)
}

// checkName reports what is wrong with a key or a tag.
func checkName(field, name string) error {
	switch {
	case name == "":
		return configerr.Field(field, "is empty; name it, such as \"user:7\"")
	case len(name) > maxKey:
		return configerr.Field(field, "%d bytes are too long; at most %d, so use a hash of it", len(name), maxKey)
	case field == "Tags" && strings.Contains(name, "\n"):
		return configerr.Field(field, "%q has a line feed in it, which ends a tag; leave it out", name)
	}
	return nil
}
