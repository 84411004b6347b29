#include "report/choice.h"

#include <stdio.h>
#include <string.h>

static void list_names(const char *const *names, char *buf, size_t size)
{
	size_t used = 0;
	for (size_t i = 0; names[i] && used < size; i++) {
		const char *sep = i == 0 ? "" : names[i + 1] ? ", " : " or ";
		int n = snprintf(buf + used, size - used, "%s%s", sep, names[i]);
		used += n > 0 ? (size_t)n : 0;
	}
}

int choice_find(const char *option, const char *name, const char *const *names, struct err *e)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;

	char list[160] = "";
	list_names(names, list, sizeof(list));
	err_set(e, ERR_USAGE, "%s %.64s: there is no such choice", option, name);
	return err_remedy(e, "%s %s", option, list);
}
