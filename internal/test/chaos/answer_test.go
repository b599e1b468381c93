//go:build unix

package chaos

import "testing"

func TestNameIn_NamesTheServerItself(t *testing.T) {
	for want, info := range map[string]string{
		"Redis 7.0.15": "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n",
		"Valkey 8.1.1": "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n",
		"Redict 7.3.6": "# Server\r\nredis_version:7.2.4\r\nredict_version:7.3.6\r\n",
	} {
		if got, err := nameIn(info); got != want || err != nil {
			t.Errorf("%q (%v), want %q", got, err, want)
		}
	}
	if got, err := nameIn("# Server\r\n"); err == nil {
		t.Errorf("a server without INFO is named %q", got)
	}
}
