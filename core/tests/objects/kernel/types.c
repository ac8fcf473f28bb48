/* A kernel's types, for the cases that ask for them. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct thing;
enum state { STATE_NEW = 3, STATE_OLD = -2 };
enum wide_state { WIDE_FIRST = 0x1122334455667788, WIDE_SECOND = 7 };
typedef int (*handler)(struct thing *, long);

struct nested {
	u64 padding;
	struct {
		u32 moved;
		union {
			u16 choice;
			u8 raw[6];
		};
	};
};

struct thing {
	u64 added;
	char name[24];
	short number;
	u64 grown;
	struct nested inner[3];
	struct thing *next;
	signed int low : 3;
	unsigned int high : 13;
	u32 : 4;
	u64 across : 33;
	enum state state;
	struct nested tail[];
};

/* Two of one name with the same answer for `value` and different ones for `other`. */
struct twice {
	int pad;
	int value;
	int other;
};
struct twice___more {
	int pad;
	int value;
	int pad2;
	int other;
};

union either {
	u32 number;
	u8 bytes[4];
};

struct declared_here;
struct grown {
	struct declared_here *pointer;
	u32 one, two;
	enum state state;
};

typedef u64 counter;

struct thing *thing;
struct twice *twice;
struct twice___more *twice_more;
union either *either;
struct grown *grown;
enum state state;
enum wide_state wide_state;
counter count;
handler handle;
struct thing things;
