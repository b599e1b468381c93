package fence_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/venta-hq/redlock/fence"
)

// bucket is what S3Store needs of S3: GetObject, which fails with errNoSuchKey, and PutObject with IfMatch, or with IfNoneMatch "*" if
// etag is empty, which fails with errPrecondition (a response 412).
type bucket interface {
	GetObject(ctx context.Context, name string) (body, etag string, err error)
	PutObject(ctx context.Context, name, body, etag string) error
}

var (
	errNoSuchKey    = errors.New("NoSuchKey")
	errPrecondition = errors.New("PreconditionFailed")
)

// S3Store keeps the newest tokens of each key's writers and readers in an object: "17 18".
type S3Store struct{ bucket bucket }

func (s S3Store) CheckToken(ctx context.Context, key string, token int64) error {
	return s.replace(ctx, key, func(writer, reader *int64) error {
		if *writer > token || *reader >= token {
			return &fence.StaleError{Key: key, Token: token, Newest: max(*writer, *reader), Reader: *reader >= *writer}
		}
		*writer = token
		return nil
	})
}

// CheckReadToken is needed for shared locks only, and so is the second number.
func (s S3Store) CheckReadToken(ctx context.Context, key string, token int64) error {
	return s.replace(ctx, key, func(writer, reader *int64) error {
		if *writer > token {
			return &fence.StaleError{Key: key, Token: token, Newest: *writer}
		}
		*reader = max(*reader, token)
		return nil
	})
}

func (s S3Store) replace(ctx context.Context, key string, judge func(writer, reader *int64) error) error {
	for {
		var writer, reader int64
		body, etag, err := s.bucket.GetObject(ctx, key)
		if err == nil {
			_, err = fmt.Sscan(body, &writer, &reader)
		}
		if err != nil && !errors.Is(err, errNoSuchKey) {
			return err
		}
		if err := judge(&writer, &reader); err != nil {
			return err
		}
		next := fmt.Sprint(writer, reader)
		if next == body {
			return nil
		}
		if err = s.bucket.PutObject(ctx, key, next, etag); !errors.Is(err, errPrecondition) { // another check came first: look again
			return err
		}
	}
}

// S3 compares and replaces by If-Match. An object that is the data itself can have the token in its metadata and be written in the
// same way: then the check and the write are one step.
func ExampleStore_s3() {
	tryStore(S3Store{new(fakeBucket)})
	// Output:
	// <nil>
	// <nil>
	// redlock: stale fencing token of "order:42": 17, but 18 was seen; the lock has passed on, so nothing may be read or written under it
	// readers: <nil> <nil> <nil>
	// redlock: stale fencing token of "order:42": 18, but 20 of a reader was seen; the lock has passed on, or it was downgraded, so nothing may be written under it true
	// the next writer: <nil> true
	// 64 checks at once leave 64
}

// table is what DynamoStore needs of DynamoDB: UpdateItem of the item with this key, with ReturnValuesOnConditionCheckFailure ALL_OLD.
// If the condition fails it returns ok false, and the attributes as they are.
type table interface {
	UpdateItem(ctx context.Context, key, update, condition string, values map[string]int64) (old map[string]int64, ok bool, err error)
}

// DynamoStore keeps the newest tokens of each key's writers and readers in an item.
type DynamoStore struct{ table table }

const newerThanAll = "(attribute_not_exists(writer) OR writer <= :token) AND (attribute_not_exists(reader) OR reader < :token)"

func (s DynamoStore) CheckToken(ctx context.Context, key string, token int64) error {
	old, ok, err := s.table.UpdateItem(ctx, key, "SET writer = :token", newerThanAll, map[string]int64{":token": token})
	if err != nil || ok {
		return err
	}
	return &fence.StaleError{Key: key, Token: token, Newest: max(old["writer"], old["reader"]), Reader: old["reader"] >= old["writer"]}
}

// CheckReadToken is needed for shared locks only, and so is the second attribute.
func (s DynamoStore) CheckReadToken(ctx context.Context, key string, token int64) error {
	old, ok, err := s.table.UpdateItem(ctx, key, "SET reader = :token", newerThanAll, map[string]int64{":token": token})
	if err != nil || ok || old["writer"] <= token { // the last: a reader that is as new was seen
		return err
	}
	return &fence.StaleError{Key: key, Token: token, Newest: old["writer"]}
}

// DynamoDB compares and replaces in one request. The same condition on the item that is the data, or in TransactWriteItems beside it,
// makes the check and the write one step.
func ExampleStore_dynamoDB() {
	tryStore(DynamoStore{new(fakeTable)})
	// Output:
	// <nil>
	// <nil>
	// redlock: stale fencing token of "order:42": 17, but 18 was seen; the lock has passed on, so nothing may be read or written under it
	// readers: <nil> <nil> <nil>
	// redlock: stale fencing token of "order:42": 18, but 20 of a reader was seen; the lock has passed on, or it was downgraded, so nothing may be written under it true
	// the next writer: <nil> true
	// 64 checks at once leave 64
}

// tryStore has two holders write, the first of them late, and a reader after them; and then many write at once.
func tryStore(s fence.ReadStore) {
	ctx := context.Background()
	for _, token := range []int64{17, 18, 17} {
		fmt.Println(s.CheckToken(ctx, "order:42", token))
	}
	fmt.Println("readers:", s.CheckReadToken(ctx, "order:42", 20), s.CheckReadToken(ctx, "order:42", 18), s.CheckReadToken(ctx, "order:42", 20))
	fmt.Println(s.CheckToken(ctx, "order:42", 18), errors.Is(s.CheckToken(ctx, "order:42", 20), fence.ErrStale))
	fmt.Println("the next writer:", s.CheckToken(ctx, "order:42", 21), errors.Is(s.CheckReadToken(ctx, "order:42", 20), fence.ErrStale))
	var wg sync.WaitGroup
	for token := range int64(64) {
		wg.Go(func() { _ = s.CheckToken(ctx, "order:43", token+1) }) // many are stale
	}
	wg.Wait()
	var stale *fence.StaleError
	errors.As(s.CheckToken(ctx, "order:43", 1), &stale)
	fmt.Println("64 checks at once leave", stale.Newest)
}

// fakeBucket is a bucket in memory. An object's etag is its body.
type fakeBucket struct{ objects sync.Map }

func (b *fakeBucket) GetObject(_ context.Context, name string) (body, etag string, err error) {
	v, ok := b.objects.Load(name)
	if !ok {
		return "", "", errNoSuchKey
	}
	return v.(string), v.(string), nil
}

func (b *fakeBucket) PutObject(_ context.Context, name, body, etag string) error {
	if etag == "" {
		if _, there := b.objects.LoadOrStore(name, body); there {
			return errPrecondition
		}
		return nil
	}
	if !b.objects.CompareAndSwap(name, etag, body) {
		return errPrecondition
	}
	return nil
}

// fakeTable is a table in memory, which knows one condition.
type fakeTable struct {
	mu    sync.Mutex
	items map[string]map[string]int64
}

func (f *fakeTable) UpdateItem(_ context.Context, key, update, _ string, values map[string]int64) (old map[string]int64, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, token := f.items[key], values[":token"]
	if old["writer"] > token || old["reader"] > 0 && old["reader"] >= token {
		return maps.Clone(old), false, nil
	}
	if f.items == nil {
		f.items = map[string]map[string]int64{}
	}
	if old == nil {
		f.items[key] = map[string]int64{}
	}
	f.items[key][strings.Fields(update)[1]] = token
	return nil, true, nil
}
