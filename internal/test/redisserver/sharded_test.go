package redisserver

import (
	"strings"
	"testing"
)

func TestSharded_Restart_KeepsThePlaceOfAServerWithoutItsData(t *testing.T) {
	t.Parallel()
	need(t)
	s, err := StartSharded(3, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	const key = "foo" // slot 12182, on the third server
	third := client(t, s.URLs()[2], nil)
	if err := third.Set(t.Context(), key, "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client(t, s.URLs()[0], nil).Get(t.Context(), key).Err(); err == nil || !strings.HasPrefix(err.Error(), "MOVED 12182") {
		t.Errorf("GET on another server: %v", err)
	}
	for _, lose := range []bool{false, true} {
		if err := s.Restart(2, lose); err != nil {
			t.Fatal(err)
		}
		if err := s.AwaitOK(); err != nil {
			t.Fatal(err)
		}
		want := int64(1)
		if lose {
			want = 0
		}
		if n, err := client(t, s.URLs()[2], nil).Exists(t.Context(), key).Result(); n != want || err != nil {
			t.Errorf("lose=%t: EXISTS = %d, %v, want %d", lose, n, err, want)
		}
	}
}
