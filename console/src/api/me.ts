import { useQuery } from "@tanstack/react-query";
import { membersQuery, meQuery } from "./queries";
import type { Member } from "./types";

/** Whether who is signed in may do something; what they may not isn't offered. */
export function useMay(): (permission: string) => boolean {
  const { data } = useQuery(meQuery);
  return (permission) => data?.permissions.includes(permission) ?? false;
}

/**
 * The members, as far as who is signed in may know them. Pages that only name people don't ask
 * for all of them each time that they are opened.
 */
export function useMembers(): Member[] | undefined {
  const may = useMay();
  return useQuery({ ...membersQuery, enabled: may("users.read"), staleTime: 60_000 }).data;
}

/** What to call a user, as far as who is signed in may know it: else by the id. */
export function useNameOf(): (userId: string) => string {
  const { data: me } = useQuery(meQuery);
  const members = useMembers();
  return (userId) => {
    if (userId === me?.user.id) return me.user.email;
    return members?.find(({ id }) => id === userId)?.email ?? userId;
  };
}
