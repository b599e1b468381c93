package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/fence"
)

// answer is a database that answers every statement with a number or an error,
// and remembers the last one.
type answer struct {
	number int64
	err    error

	text string
	args []any
	ctx  context.Context
	wait bool // until ctx ends
}

func (a *answer) take(ctx context.Context, text string, args []any) {
	a.ctx, a.text, a.args = ctx, text, args
	if a.wait {
		<-ctx.Done()
		a.err = ctx.Err()
	}
}

// Row is for dialects whose statements return one.
func (a *answer) Row(ctx context.Context, text string, args ...any) fence.Row {
	a.take(ctx, text, args)
	return a
}

func (a *answer) Scan(dest ...any) error {
	*dest[0].(*int64) = a.number
	return a.err
}

// ExecContext is for MySQL.
func (a *answer) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	a.take(ctx, text, args)
	return a, a.err
}

func (a *answer) LastInsertId() (int64, error) { return a.number, nil }
func (a *answer) RowsAffected() (int64, error) { return 0, errors.New("not to be asked") }

func (a *answer) QueryRowContext(context.Context, string, ...any) *sql.Row {
	panic("an INSERT of MySQL returns no row")
}

func (a *answer) of(s fence.SQL) fence.SQLStore {
	if s.Dialect == fence.MySQL {
		return s.On(a)
	}
	return s.OnRows(a.Row)
}

var dialects = []fence.Dialect{fence.PostgreSQL, fence.MySQL, fence.SQLite}

func TestSQL_CheckToken_JudgesByTheNewest(t *testing.T) {
	for _, d := range dialects {
		for _, tt := range []struct {
			name          string
			newest, token int64
			stale, passes bool
		}{
			{"newer seen", 8, 7, true, false},
			{"equal", 7, 7, false, true},
			{"not kept", 6, 7, false, false},
			{"no number", 0, 7, false, false},
			{"largest", fence.MaxToken - 1, fence.MaxToken - 1, false, true},
			{"largest seen", fence.MaxToken - 1, fence.MaxToken - 2, true, false},
		} {
			err := (&answer{number: 2 * tt.newest}).of(fence.SQL{Dialect: d}).CheckToken(t.Context(), "order:42", tt.token)
			if (err == nil) != tt.passes || errors.Is(err, fence.ErrStale) != tt.stale {
				t.Errorf("%v, %s: %v", d, tt.name, err)
			}
			var stale *fence.StaleError
			if tt.stale && (!errors.As(err, &stale) || *stale != fence.StaleError{Key: "order:42", Token: tt.token, Newest: tt.newest}) {
				t.Errorf("%v, %s: %+v", d, tt.name, stale)
			}
		}
	}
}

// The database answers with a rank: twice the token of a writer, and one more
// for a reader.
func TestSQL_Checks_JudgeByTheNewestRank(t *testing.T) {
	for _, d := range dialects {
		for _, tt := range []struct {
			name          string
			reads         bool
			rank, token   int64
			stale, passes bool
			newest        int64
			reader        bool
		}{
			{"a writer after a newer reader", false, 2*8 + 1, 7, true, false, 8, true},
			{"a writer after a reader with its token", false, 2*7 + 1, 7, true, false, 7, true},
			{"a reader", true, 2*7 + 1, 7, false, true, 0, false},
			{"a reader after a newer writer", true, 2 * 8, 7, true, false, 8, false},
			{"a reader that was not kept", true, 2 * 7, 7, false, false, 0, false},
			{"the largest reader", true, 2*(fence.MaxToken-1) + 1, fence.MaxToken - 1, false, true, 0, false},
		} {
			s := (&answer{number: tt.rank}).of(fence.SQL{Dialect: d})
			check := s.CheckToken
			if tt.reads {
				check = s.CheckReadToken
			}
			err := check(t.Context(), "order:42", tt.token)
			if (err == nil) != tt.passes || errors.Is(err, fence.ErrStale) != tt.stale {
				t.Errorf("%v, %s: %v", d, tt.name, err)
			}
			var stale *fence.StaleError
			if want := (fence.StaleError{Key: "order:42", Token: tt.token, Newest: tt.newest, Reader: tt.reader}); tt.stale && (!errors.As(err, &stale) || *stale != want) {
				t.Errorf("%v, %s: %+v, want %+v", d, tt.name, stale, want)
			}
		}
	}
}

func TestSQL_CheckToken_AsksNothingWithoutAKeyAndAToken(t *testing.T) {
	for _, d := range dialects {
		for _, token := range []int64{math.MinInt64, -1, 0, fence.MaxToken, math.MaxInt64} {
			a := &answer{number: token}
			if err := a.of(fence.SQL{Dialect: d}).CheckToken(t.Context(), "k", token); err == nil || a.ctx != nil {
				t.Errorf("%v, token %d: %v, asked %q", d, token, err, a.text)
			}
		}
		a := &answer{number: 1}
		if err := a.of(fence.SQL{Dialect: d}).CheckToken(t.Context(), "", 1); err == nil || a.ctx != nil {
			t.Errorf("%v, no key: %v, asked %q", d, err, a.text)
		}
	}
}

func TestSQL_CheckToken_IsAskedUnderAContextThatEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s, a := fence.SQL{Dialect: fence.MySQL, Timeout: time.Minute}, &answer{wait: true}
		start := time.Now()
		err := s.CheckToken(ctx, a, "k", 2)
		if took := time.Since(start); took != time.Minute || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1m0s") {
			t.Errorf("a database that does not answer: %v after %v", err, took)
		}
		s.Timeout, a = 0, &answer{number: 6}
		if err := s.CheckToken(ctx, a, "k", 2); !errors.Is(err, fence.ErrStale) {
			t.Error(err)
		}
		if deadline, ok := a.ctx.Deadline(); !ok || time.Until(deadline) != 5*time.Second {
			t.Errorf("the deadline of Timeout's default is in %v, %t", time.Until(deadline), ok)
		}
	})
}

func TestSQLStore_CheckToken_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range dialects {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			err := (&answer{wait: true}).of(fence.SQL{Dialect: d}).CheckToken(ctx, "k", 2)
			if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "another") {
				t.Errorf("%v: %v after %v", d, err, took)
			}
		}
	})
}

func TestSQL_CheckToken_KeyIsNoPartOfTheStatement(t *testing.T) {
	hex := regexp.MustCompile(`x'[0-9a-f]*'`)
	for _, d := range dialects {
		texts := map[string]bool{}
		for _, key := range []string{"k", "'; DROP TABLE orders; --", "\x00\xff\\'", "`\"$1?", strings.Repeat("ä", 512), "%s%[1]d"} {
			a := &answer{number: 14}
			if err := a.of(fence.SQL{Dialect: d}).CheckToken(t.Context(), key, 7); err != nil {
				t.Fatalf("%v, %q: %v", d, key, err)
			}
			texts[hex.ReplaceAllString(a.text, "hex")] = true
		}
		if len(texts) != 1 {
			t.Errorf("%v: the statement depends on the key: %v", d, texts)
		}
	}
}

func TestSQL_Table_IsQuoted(t *testing.T) {
	for _, tt := range []struct {
		d           fence.Dialect
		table, want string
	}{
		{fence.PostgreSQL, "", `"redlock_fence"`},
		{fence.PostgreSQL, "Shop.select", `"Shop"."select"`},
		{fence.SQLite, "_1", `"_1"`},
		{fence.MySQL, "", "`redlock_fence`"},
		{fence.MySQL, "shop.order", "`shop`.`order`"},
		{fence.MySQL, strings.Repeat("x", 63), "`" + strings.Repeat("x", 63) + "`"},
	} {
		s, a := fence.SQL{Dialect: tt.d, Table: tt.table}, &answer{number: 2}
		if err := a.of(s).CheckToken(t.Context(), "k", 1); err != nil || !strings.HasPrefix(a.text, "INSERT INTO "+tt.want+" ") {
			t.Errorf("%v, %q: %v, %s", tt.d, tt.table, err, a.text)
		}
		if schema, err := s.Schema(); err != nil || !strings.HasPrefix(schema, "CREATE TABLE IF NOT EXISTS "+tt.want+" (") {
			t.Errorf("%v, %q: %v, %s", tt.d, tt.table, err, schema)
		}
	}
}

func TestSQL_BadFieldsAreNamedWithWhatIsAllowed(t *testing.T) {
	for _, table := range []string{`x"; DROP TABLE orders; --`, "x`", "1x", "a.b.c", ".x", "x.", "x y", "x\n", "tablé", "x;", strings.Repeat("x", 64)} {
		for _, d := range dialects {
			s, a := fence.SQL{Dialect: d, Table: table}, &answer{number: 1}
			_, schema := s.Schema()
			for what, err := range map[string]error{
				"check": a.of(s).CheckToken(t.Context(), "k", 1), "forget": s.Forget(t.Context(), a, "k"), "schema": schema,
			} {
				if err == nil || !strings.Contains(err.Error(), "SQL.Table") || !strings.Contains(err.Error(), "letters") || a.ctx != nil {
					t.Errorf("%s of %v with table %q: %v, asked %q", what, d, table, err, a.text)
				}
			}
		}
	}
	_, err := fence.SQL{Table: "1", Timeout: -1}.Schema()
	for _, want := range []string{"SQL.Dialect", "fence.SQLite", "SQL.Table", "SQL.Timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not all at once: %q is missing in %v", want, err)
		}
	}
	if err := (fence.SQL{Dialect: fence.MySQL}).OnRows((&answer{number: 1}).Row).CheckToken(t.Context(), "k", 1); err == nil ||
		!strings.Contains(err.Error(), "SQL.On") {
		t.Errorf("rows of MySQL: %v", err)
	}
}

func TestSchema_PanicsOnAnUnknownDialect(t *testing.T) {
	for _, d := range dialects {
		if want, err := (fence.SQL{Dialect: d}).Schema(); err != nil || fence.Schema(d) != want {
			t.Errorf("%v: %v, %s", d, err, fence.Schema(d))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	fence.Schema(fence.SQLite + 1)
}

// coded is an error as pgx and lib/pq have it: a code, and what it is about.
type coded string

func (c coded) Error() string    { return "does not exist: " + string(c[5:]) }
func (c coded) SQLState() string { return string(c[:5]) }

func TestSQL_MissingTable_SaysHowToMakeIt(t *testing.T) {
	for _, tt := range []struct {
		d       fence.Dialect
		err     error
		missing bool
	}{
		{fence.PostgreSQL, coded("42P01"), true},
		{fence.PostgreSQL, coded("42501"), false},
		{fence.MySQL, errors.New("Error 1146 (42S02): Table 'shop.redlock_fence' doesn't exist"), true},
		{fence.MySQL, errors.New("Error 1213 (40001): Deadlock found"), false},
		{fence.SQLite, errors.New("SQL logic error: no such table: redlock_fence (1)"), true},
		{fence.SQLite, errors.New("database is locked (5) (SQLITE_BUSY)"), false},
	} {
		err := (&answer{err: tt.err}).of(fence.SQL{Dialect: tt.d}).CheckToken(t.Context(), "k", 1)
		if !errors.Is(err, tt.err) {
			t.Errorf("%v: %v does not wrap %v", tt.d, err, tt.err)
		}
		schema := strings.Join(strings.Fields(fence.Schema(tt.d)), " ")
		if strings.Contains(err.Error(), schema) != tt.missing {
			t.Errorf("%v: %v: %v", tt.d, tt.err, err)
		}
	}
}

func TestSQL_MissingColumn_SaysHowToAddIt(t *testing.T) {
	for _, tt := range []struct {
		d       fence.Dialect
		err     error
		missing bool
	}{
		{fence.PostgreSQL, coded(`42703 column "read_token" of relation "redlock_fence"`), true},
		{fence.PostgreSQL, coded("42703 column f.read_token"), true},
		{fence.PostgreSQL, coded(`42703 column "mine" of relation "redlock_fence"`), false}, // such as of a trigger
		{fence.PostgreSQL, coded("42P01 read_token"), false},
		{fence.MySQL, errors.New("Error 1054 (42S22): Unknown column 'read_token' in 'field list'"), true},
		{fence.MySQL, errors.New("Error 1054 (42S22): Unknown column 'mine' in 'field list'"), false},
		{fence.SQLite, errors.New("SQL logic error: table redlock_fence has no column named read_token (1)"), true},
		{fence.SQLite, errors.New("SQL logic error: no such column: f.read_token (1)"), true},
		{fence.SQLite, errors.New("SQL logic error: no such column: mine (1)"), false},
	} {
		s := (&answer{err: tt.err}).of(fence.SQL{Dialect: tt.d})
		for _, err := range []error{s.CheckToken(t.Context(), "k", 1), s.CheckReadToken(t.Context(), "k", 1)} {
			if !errors.Is(err, tt.err) || strings.Contains(err.Error(), fence.Migration(tt.d)) != tt.missing {
				t.Errorf("%v: %v: %v", tt.d, tt.err, err)
			}
		}
	}
}

func TestMigration_PanicsOnAnUnknownDialect(t *testing.T) {
	for _, d := range dialects {
		if want, err := (fence.SQL{Dialect: d}).Migration(); err != nil || fence.Migration(d) != want {
			t.Errorf("%v: %v, %s", d, err, fence.Migration(d))
		}
	}
	for _, d := range dialects {
		if strings.Contains(fence.Migration(d), "ADD COLUMN IF NOT EXISTS") != (d == fence.PostgreSQL) {
			t.Errorf("%v: %s", d, fence.Migration(d))
		}
	}
	if text, err := (fence.SQL{Dialect: fence.MySQL, Table: "shop.x"}).Migration(); err != nil || !strings.Contains(text, "`shop`.`x`") {
		t.Errorf("another name: %s, %v", text, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	fence.Migration(0)
}

// A storage is fenced by a check in the transaction that writes to it.
func ExampleSQL() {
	fences := fence.SQL{Dialect: fence.PostgreSQL} // its table: fence.Schema(fence.PostgreSQL)

	// ship runs under the lock on "order:42".
	ship := func(ctx context.Context, db *sql.DB) error {
		tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fences.Check(ctx, tx, "order:42"); err != nil {
			return err // errors.Is(err, fence.ErrStale): somebody else has the lock now
		}
		if _, err := tx.ExecContext(ctx, `UPDATE orders SET state = 'shipped' WHERE id = 42`); err != nil {
			return err
		}
		return tx.Commit()
	}
	_ = ship
}
