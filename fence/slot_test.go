package fence

import (
	"strings"
	"testing"
)

// The examples are those of the Redis Cluster specification.
func TestTagOf_IsThePartThatPlacesAKey(t *testing.T) {
	for key, want := range map[string]string{
		"{user1000}.following": "user1000", "foo{}{bar}": "foo{}{bar}", "foo{{bar}}zap": "{bar", "foo{bar}{zap}": "bar",
		"plain": "plain", "open {": "open {", "closed }": "closed }", "}{": "}{", "": "",
	} {
		if got := tagOf(key); got != want {
			t.Errorf("tag of %q: %q, want %q", key, got, want)
		}
	}
}

// A Redis Cluster runs a script only if all of its keys have one slot.
func TestGuards_AreInTheSlotOfTheirData(t *testing.T) {
	r := Redis{Prefix: "mine:"}
	for _, lock := range []string{"order:42", "{order:42}", "a}b", "{", "%7D"} {
		for _, key := range []string{"{order:42}:state", "plain", "foo{{bar}}zap", "open {"} {
			guards := r.guards(lock, []string{key, key})
			if len(guards) != 1 || tagOf(guards[0]) != tagOf(key) || !strings.HasPrefix(guards[0], "mine:") {
				t.Errorf("lock %q, key %q: guards %q, want one with the tag %q", lock, key, guards, tagOf(key))
			}
		}
	}
}
