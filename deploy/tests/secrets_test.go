package tests

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// users are the rules of each user in the file that secrets.sh wrote, without
// those of passwords, and how many passwords each has.
func users(t *testing.T, deploy string) (rules map[string][]string, passwords map[string]int) {
	t.Helper()
	rules, passwords = map[string][]string{}, map[string]int{}
	hash := regexp.MustCompile(`^#[0-9a-f]{64}$`)
	for line := range strings.Lines(harness.ReadFile(t, filepath.Join(deploy, "secrets", "users.acl"))) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "user" {
			t.Fatalf("users.acl: %q", line)
		}
		for _, word := range words[2:] {
			if hash.MatchString(word) {
				passwords[words[1]]++
			} else {
				rules[words[1]] = append(rules[words[1]], word)
			}
		}
	}
	return rules, passwords
}

// The users have the rights that package cluster lists, and no others.
func TestSecrets_UsersHaveTheDocumentedRights(t *testing.T) {
	rules, _ := users(t, withSecrets(t))
	locks := append([]string{"reset", "on"}, strings.Fields(cluster.ACL("", false))...)
	operator := slices.Clone(locks)
	for _, r := range cluster.OperatorRights() {
		operator = append(operator, r.Rule)
	}
	want := map[string][]string{
		"default":  {"reset", "off", "~*", "&*", "+@all"}, // see TestNodes_KeepTheirLocksOverARestart
		"redlock":  locks,
		"operator": operator,
		"admin":    {"reset", "on", "~*", "&*", "+@all"},
		"health":   {"reset", "on", "nopass", "+ping"},
	}
	for name, rules := range rules {
		if !slices.Equal(rules, want[name]) {
			t.Errorf("the user %s has\n%s\nwant\n%s", name, strings.Join(rules, " "), strings.Join(want[name], " "))
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("there is no user %s", name)
	}
}

// Passwords are never overwritten by mistake, and a rotation keeps the old one
// beside the new one until it is retired.
func TestSecrets_RotationKeepsTheOldPasswordUntilItIsRetired(t *testing.T) {
	deploy := withSecrets(t)
	first := environment(t, deploy)
	if _, err := secrets(t, deploy, "new"); err == nil {
		t.Error("new overwrote passwords that are in use")
	}
	if now := environment(t, deploy); now["REDLOCK_PASSWORD"] != first["REDLOCK_PASSWORD"] || len(first["REDLOCK_PASSWORD"]) != 64 {
		t.Fatalf("the password is %q, then %q", first["REDLOCK_PASSWORD"], now["REDLOCK_PASSWORD"])
	}
	for _, step := range []struct {
		verb      string
		fails     bool
		passwords int
	}{{"rotate", false, 2}, {"rotate", true, 2}, {"retire", false, 1}, {"retire", false, 1}, {"rotate", false, 2}} {
		before := environment(t, deploy)
		if _, err := secrets(t, deploy, step.verb); err != nil != step.fails {
			t.Errorf("%s: %v", step.verb, err)
		}
		now := environment(t, deploy)
		if rotated := step.verb == "rotate" && !step.fails; rotated != (now["REDLOCK_PASSWORD"] != before["REDLOCK_PASSWORD"]) ||
			rotated && now["REDLOCK_OLD_PASSWORD"] != before["REDLOCK_PASSWORD"] {
			t.Errorf("%s made of %v\n%v", step.verb, before, now)
		}
		_, passwords := users(t, deploy)
		listed, err := secrets(t, deploy, "list")
		want := map[int]string{1: "user operator: one password\n", 2: "user operator: two passwords, one of them until retire\n"}[step.passwords]
		if err != nil || !strings.Contains(listed, want) || !strings.Contains(listed, " secrets/nodes\n") {
			t.Errorf("after %s, list: %v\n%s", step.verb, err, listed)
		}
		if again := environment(t, deploy); !maps.Equal(again, now) {
			t.Errorf("list changed the passwords after %s", step.verb)
		}
		for _, user := range []string{"redlock", "operator", "admin"} {
			if passwords[user] != step.passwords {
				t.Errorf("after %s the user %s has %d passwords, want %d", step.verb, user, passwords[user], step.passwords)
			}
		}
	}
}

func TestSecrets_PasswordsAreForTheirOwnerAlone(t *testing.T) {
	deploy := withSecrets(t)
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes there")
	}
	for file, want := range map[string]os.FileMode{".env": 0o600, "secrets/nodes": 0o600, "secrets/users.acl": 0o644} {
		info, err := os.Stat(filepath.Join(deploy, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, want %v", file, info.Mode().Perm(), want)
		}
	}
	hashes := harness.ReadFile(t, filepath.Join(deploy, "secrets", "users.acl"))
	for name, value := range environment(t, deploy) {
		if value != "" && strings.Contains(hashes, value) {
			t.Errorf("users.acl has %s itself in it", name)
		}
	}
}
