package quorumlock

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// slot is where a Redis Cluster keeps a key, by its specification: CRC16 (XMODEM) of what stands between the first "{"
// and the first "}" after it, or of all of it if that is nothing, modulo 16384.
func slot(key string) uint16 {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			key = key[i+1 : i+1+j]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func TestSlot_IsThatOfTheSpecification(t *testing.T) {
	if got := slot("123456789"); got != 0x31C3%16384 { // the check value that the specification names
		t.Errorf("slot = %#x", got)
	}
	if slot("{user1000}.following") != slot("{user1000}.followers") || slot("foo{}{bar}") == slot("bar") || slot("foo{{bar}}zap") != slot("{bar") {
		t.Error("hash tags")
	}
}

// companionsShareTheSlot fails for a lock key that has a "}" and no tag: nothing has its slot then.
func companionsShareTheSlot(t *testing.T, lock string) {
	t.Helper()
	all := namesOf(lock)
	if all[0] != lock {
		t.Errorf("the lock of %q is %q", lock, all[0])
	}
	for i, name := range all {
		if slot(name) != slot(lock) {
			t.Errorf("%q is in slot %d, the lock %q in %d", name, slot(name), lock, slot(lock))
		}
		if slices.Contains(all[:i], name) {
			t.Errorf("%q stands for two things", name)
		}
	}
}

func TestCompanion_SharesTheSlotOfTheLock(t *testing.T) {
	for _, lock := range []string{
		"lock:order:42", "lock:{o}:42", "lock:{o}", "{lock}:x", "lock:a{b}c{d}e", "lock:{a", "lock:{{a}}", "lock:a{b{c}d", "lock:{a}{}",
		"lock:", "lock: ", "lock:\x00\xff\r\n", "lock:äöü", strings.Repeat("k", MaxKeyLen),
	} {
		companionsShareTheSlot(t, lock)
	}
}

func TestNames_AreThoseOfTheDocumentation(t *testing.T) {
	for lock, want := range map[string]names{
		"lock:order:42": {"lock:order:42", "{lock:order:42}:fence", "{lock:order:42}:queue", "{lock:order:42}:next"},
		"lock:{o}:42":   {"lock:{o}:42", "lock:{o}:42:fence", "lock:{o}:42:queue", "lock:{o}:42:next"},
	} {
		if got := namesOf(lock); got != want {
			t.Errorf("namesOf(%q) = %q, want %q", lock, got, want)
		}
	}
}

func FuzzCompanion_SharesTheSlotOfTheLock(f *testing.F) {
	for _, key := range []string{"order:42", "{o}:42", "{", "}", "{}", "{}{a}", "a{b}c", "{a}{b}", "\x00{\xff}"} {
		f.Add("lock:", key)
		f.Add("{", key)
		f.Add("{app}:", key)
		f.Add("a}", key)
	}
	f.Fuzz(func(t *testing.T, prefix, key string) {
		red := &Redlock{cfg: Config{Prefix: prefix}}
		if red.checkKey(key) != nil {
			t.Skip("refused")
		}
		lock := red.LockKey(key)
		if lock != prefix+key || lock != namesOf(lock)[0] {
			t.Errorf("the lock of %q with the prefix %q is %q", key, prefix, lock)
		}
		if tagged(lock) || !strings.Contains(lock, "}") {
			companionsShareTheSlot(t, lock)
		}
	})
}

func TestCheckKey_OfAPlainKeyAllocatesNothing(t *testing.T) {
	red := &Redlock{cfg: Config{Prefix: "lock:"}}
	for key, want := range map[string]float64{"order:42": 0, "{order}:42": 1} {
		var err error
		if got := testing.AllocsPerRun(100, func() { err = red.checkKey(key) }); got != want || err != nil {
			t.Errorf("%q: %v allocations, want %v; %v", key, got, want, err)
		}
	}
}

func TestKey_MayBeAnyBytes(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{TTL: lasting})
		var locks []string
		for _, key := range []string{
			" ", "\x00", "\xff\xfe", "a\r\nb", "%s%d", "*", "[a-z]?", "{", "}", "{}", "{}{a}", "{tag}:k", `"quoted"`, "ключ", "k/with/slashes",
			strings.Repeat("x", MaxKeyLen),
		} {
			locks = append(locks, red.LockKey(key))
			h := acquireEverywhere(t, red, key, Request{Owner: "me"})
			for i := range r.Len() {
				if got := r.Get(i, "lock:"+key); got != h.Value() {
					t.Errorf("%.20q: node %d has %q", key, i, got)
				}
			}
			_, err := red.Acquire(context.Background(), key, Request{})
			if held := as[*NotAcquiredError](t, err); held.Key != key {
				t.Errorf("%.20q: the error is about %.20q", key, held.Key)
			}
			if next, err := h.Token(), h.Release(context.Background()); err != nil || next <= 0 {
				t.Errorf("%.20q: release: %v", key, err)
			}
		}
		r.goneEverywhere(c, locks...)
	})
}

func TestOwnerLabel_ShowsNothingThatReleases(t *testing.T) {
	process := strings.Repeat("P", processLen)
	for value, want := range map[string]string{
		process + "/1z/web-7:81":  "web-7:81",
		process + "/1z/a/b":       "a/b",
		process + "/1z/":          "",
		process + "/1z":           "another library",
		"bGV0IG1lIGluLCBwbGVhc2U": "another library",
		"a/b/c":                   "another library",
		"a//c+secret/tail==":      "another library",
		"":                        "another library",
	} {
		if got := ownerLabel(value); got != want {
			t.Errorf("ownerLabel(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestValue_IsNeverUsedTwice(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		c := r.open()
		seen := map[string]bool{}
		for range 2 { // also by two Redlocks of one process, whose locks exclude each other
			red := r.redlock(c, Config{})
			for range 30 {
				h := acquire(t, red, "k", Request{})
				if seen[h.Value()] {
					t.Fatalf("%q was used before", h.Value())
				}
				seen[h.Value()] = true
				must(t, h.Release(context.Background()))
			}
		}
	})
}

// A key is refused if, and only if, its name on the nodes is that of something
// else that belongs to another key.
func TestRedlock_CheckKey_RefusesCompanionsOfOtherKeys(t *testing.T) {
	for _, prefix := range []string{"lock:", "", "{app}:", "a}"} {
		red := &Redlock{cfg: Config{Prefix: prefix}}
		taken := map[string]bool{}
		for _, key := range []string{"t", "{t}", "{t}x", "x{t}", "{t}:fence", "a}b"} {
			lock := red.LockKey(key)
			all := namesOf(lock)
			for _, name := range all[1:] {
				taken[name] = true
			}
			taken[Companion(lock, "record")] = true
			taken[Companion(lock, "record")+":promise"] = true
		}
		for name := range taken {
			key, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			if err := red.checkKey(key); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "a companion of the lock") {
				t.Errorf("with the prefix %q the key %q is accepted (%v), and belongs to another", prefix, key, err)
			}
		}
		for _, key := range []string{"{t}:fences", "{t}:fence:2", "{t}fence", "{t}:"} {
			if err := red.checkKey(key); err != nil {
				t.Errorf("with the prefix %q the key %q is refused: %v", prefix, key, err)
			}
		}
	}
	red := &Redlock{cfg: Config{Prefix: "lock:"}}
	for _, key := range []string{"t:fence", "order:queue", "{:next", "{}:record"} {
		if err := red.checkKey(key); err != nil {
			t.Errorf("the key %q is refused, and can belong to no other: %v", key, err)
		}
	}
}
