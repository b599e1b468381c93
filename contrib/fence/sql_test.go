//go:build unix

package fence_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/fence"
)

func TestSQL_CheckToken_KeepsTheNewestOfEachKey(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		ctx := t.Context()
		for _, tt := range []struct {
			key    string
			token  int64
			newest int64 // if the token is stale
		}{
			{"a", 5, 0},
			{"a", 5, 0},
			{"a", 4, 5},
			{"b", 1, 0},
			{"a", fence.MaxToken - 1, 0},
			{"a", fence.MaxToken - 1, 0},
			{"a", fence.MaxToken - 2, fence.MaxToken - 1},
			{"a", 5, fence.MaxToken - 1},
			{"b", 2, 0},
		} {
			tx := db.begin(t, sql.LevelDefault)
			err := db.fences.CheckToken(ctx, tx, tt.key, tt.token)
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			for how, err := range map[string]error{"in a transaction": err, "committed at once": db.fences.On(db).CheckToken(ctx, tt.key, tt.token)} {
				var stale *fence.StaleError
				errors.As(err, &stale)
				if tt.newest == 0 && err != nil || tt.newest != 0 && (stale == nil || *stale != fence.StaleError{Key: tt.key, Token: tt.token, Newest: tt.newest}) {
					t.Errorf("%s: %q, token %d: %v", how, tt.key, tt.token, err)
				}
			}
		}
	})
}

func TestSQL_CheckToken_IsKeptIfTheTransactionIs(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		tx := db.begin(t, sql.LevelDefault)
		if err := db.fences.CheckToken(t.Context(), tx, "a", 9); err != nil {
			t.Fatal(err)
		}
		tx.Rollback()
		if err := db.fences.CheckToken(t.Context(), db, "a", 8); err != nil {
			t.Errorf("a token that was rolled back is kept: %v", err)
		}
		if err := db.fences.CheckToken(t.Context(), db, "a", 7); !errors.Is(err, fence.ErrStale) {
			t.Errorf("a token that was committed is not kept: %v", err)
		}
	})
}

func TestSQL_Forget_LetsOlderTokensPass(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		for _, key := range []string{"a", "b"} {
			if err := db.fences.CheckToken(t.Context(), db, key, 9); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"a", "never seen"} {
			if err := db.fences.Forget(t.Context(), db, key); err != nil {
				t.Errorf("forget %q: %v", key, err)
			}
		}
		if err := db.fences.CheckToken(t.Context(), db, "a", 1); err != nil {
			t.Errorf("after it was forgotten: %v", err)
		}
		if err := db.fences.CheckToken(t.Context(), db, "b", 1); !errors.Is(err, fence.ErrStale) {
			t.Errorf("another key was forgotten too: %v", err)
		}
	})
}

func TestSQL_CheckToken_UnderAContextThatEnded(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		ctx, cancel := context.WithCancel(t.Context())
		under, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		db.fences.CheckToken(ctx, under, "a", 3) // may pass, if it comes before the rollback
		if err := under.Commit(); err == nil {
			t.Error("a transaction outlived the context it was begun under")
		}
		if err := db.fences.CheckToken(ctx, db, "a", 2); err != nil {
			t.Errorf("nobody came after: %v", err)
		}
		if err := db.fences.CheckToken(ctx, db.begin(t, sql.LevelDefault), "a", 1); !errors.Is(err, fence.ErrStale) {
			t.Errorf("somebody came after: %v", err)
		}
	})
}

func anyBytes() (b []byte) {
	for i := range 1024 {
		b = append(b, byte(i))
	}
	return b
}

func TestSQL_Keys_AreAnyBytes(t *testing.T) {
	all := string(anyBytes())
	keys := []string{
		all, all[:1023], all + "\x00", strings.Repeat("\xff", 1024), strings.Repeat("'", 1024), strings.Repeat("\\", 1023),
		"k", "K", "k ", " k", "k\x00", "\x00", "é", "e\u0301", "\xe9", "$1", "?", ":a", "%s", `"`, "`", "\\'", "x'00'", "0x00",
		"'); DROP TABLE %data; --", "' OR '1'='1", "\\'; DELETE FROM %data; #", "*/", strings.Repeat("long", 16<<10),
	}
	onEach(t, func(t *testing.T, db *database) {
		for i, key := range keys {
			key = strings.ReplaceAll(key, "%data", db.data)
			if err := db.fences.CheckToken(t.Context(), db, key, int64(i+1)); err != nil {
				t.Errorf("%.40q: %v", key, err)
			}
			if err := db.fences.CheckToken(t.Context(), db, key, int64(i)+1); err != nil {
				t.Errorf("%.40q again: %v", key, err)
			}
		}
		rows, err := db.Query("SELECT lock_key, token FROM " + quoted(db))
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		n := 0
		for ; rows.Next(); n++ {
			var key []byte
			var token int64
			if err := rows.Scan(&key, &token); err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(keys[token-1], "%data", db.data); !bytes.Equal(key, []byte(want)) {
				t.Errorf("%.40q is stored as %.40q", want, key)
			}
		}
		if err := rows.Err(); err != nil || n != len(keys) {
			t.Errorf("%d rows of %d keys: %v", n, len(keys), err)
		}
		if w := db.writer(t); w != 0 {
			t.Errorf("a key changed other data to %d", w)
		}
	})
}

// quoted is the name of the table of fences, which is in upper case too.
func quoted(db *database) string {
	if db.fences.Dialect == fence.MySQL {
		return "`" + db.fences.Table + "`"
	}
	return `"` + db.fences.Table + `"`
}

func TestSQL_Table_InjectsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		for _, quote := range []string{`"`, "`", ""} {
			s := db.fences
			s.Table = "x" + quote + "; DROP TABLE " + db.data + "; --"
			if err := s.CheckToken(t.Context(), db, "a", 1); err == nil || !strings.Contains(err.Error(), "SQL.Table") {
				t.Errorf("%s: %v", s.Table, err)
			}
		}
		db.writer(t)
		s := db.fences
		s.Table = "select" // quoted, it is a name as others are
		schema, err := s.Schema()
		if err != nil {
			t.Fatal(err)
		}
		db.exec(t, schema)
		defer db.exec(t, strings.Replace("DROP TABLE "+quoted(db), db.fences.Table, s.Table, 1))
		if err := s.CheckToken(t.Context(), db, "a", 1); err != nil {
			t.Error(err)
		}
	})
}

func TestSQL_MissingTable_TheErrorHasTheStatementThatMakesIt(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		db.fences.Table += "_missing"
		err := db.fences.CheckToken(t.Context(), db, "a", 1)
		if err == nil || !strings.Contains(err.Error(), "is missing") {
			t.Fatalf("no table: %v", err)
		}
		_, text, _ := strings.Cut(err.Error(), "SQL.Schema says: ")
		create, _, found := strings.Cut(text, ": ")
		if !found {
			t.Fatalf("no statement: %v", err)
		}
		db.exec(t, create)
		if err := db.fences.CheckToken(t.Context(), db, "a", 1); err != nil {
			t.Errorf("after %s: %v", create, err)
		}
	})
}

func TestSQL_Timeout_SaysThatATransactionIsOpen(t *testing.T) {
	onEach(t, func(t *testing.T, db *database) {
		tx := db.begin(t, sql.LevelDefault)
		if err := db.fences.CheckToken(t.Context(), tx, "a", 1); err != nil {
			t.Fatal(err)
		}
		s := db.fences
		s.Timeout = 100 * time.Millisecond
		err := s.CheckToken(t.Context(), db, "a", 2)
		if err == nil || errors.Is(err, fence.ErrStale) || !strings.Contains(err.Error(), "another transaction") {
			t.Errorf("behind an open transaction: %v", err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := db.fences.CheckToken(t.Context(), db, "a", 2); err != nil {
			t.Error(err)
		}
	})
}
